import itertools
import threading
import time

import pytest

from age_tasks.data.parallel import in_order


def test_results_come_in_order_whatever_is_done_first():
    pauses = [0.05, 0, 0.02, 0, 0]

    def work(number: int) -> int:
        time.sleep(pauses[number])
        return number

    assert list(in_order(work, range(5), threads=5, ahead=5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (4, 2), (2, 7)])
def test_no_more_is_begun_than_may_be_ahead(threads: int, ahead: int):
    begun = []
    results = in_order(begun.append, itertools.count(), threads, ahead)
    for taken in range(1, 4):
        next(results)
        assert len(begun) < taken + ahead
    results.close()


def test_an_error_comes_in_its_place_and_what_has_not_begun_is_dropped():
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise OSError("no such disk")
        return number

    results = in_order(work, range(1000), threads=2, ahead=8)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="no such disk"):
        next(results)
    assert len(begun) <= 10


def test_several_are_worked_on_at_a_time():
    together = threading.Barrier(3, timeout=30)
    assert len(list(in_order(lambda _: together.wait(), range(6), threads=3, ahead=6))) == 6
