"""A test that fails: `tests/faults/test_tally.py` runs it and looks at what it leaves."""

from tests.faults.tally import Tally


def test_the_second_of_two_faults_is_not_survived(tally: Tally):
    for survived in (True, False):
        with tally.attempt("kills"):
            assert survived
