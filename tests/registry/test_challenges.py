"""Which challenge of its champion a candidate is, counted in the store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from age_tasks.registry import challenges
from age_tasks.registry.challenges import CHALLENGES, ChallengeEntry, challenge_number
from age_tasks.registry.promotions import champion, rollback
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.builders import promoted
from tests.support.counted import CountingStore


def entry(model: str, champion: str = "sunday", test: str = "first images", run: str = "monday") -> ChallengeEntry:
    return ChallengeEntry(champion=champion, model=model, test=test, run=run, at="2026-11-26T10:00:00+00:00")


def test_each_candidate_is_one_more_challenge_of_its_champion(store: Store):
    assert [challenge_number(store, entry(model)) for model in ("one", "two", "three")] == [1, 2, 3]
    assert challenge_number(store, entry("four", champion="monday")) == 1
    assert challenge_number(store, entry("four")) == 4


def test_the_same_model_on_the_same_images_keeps_its_number_in_whichever_run(store: Store):
    first = [challenge_number(store, entry(model)) for model in ("one", "two")]
    again = [challenge_number(store, entry(model, run="tuesday")) for model in ("one", "two")]
    assert first == again == [1, 2]
    assert challenge_number(store, entry("three")) == 3


def test_the_same_model_on_other_test_images_is_a_new_challenge(store: Store):
    assert challenge_number(store, entry("one")) == 1
    assert challenge_number(store, entry("one", test="more images")) == 2


def test_a_champion_that_is_rolled_back_to_goes_on_from_where_it_was(store: Store, tmp_path: Path):
    def challenged(model: str) -> int:
        return challenge_number(store, entry(model, champion(store).version))

    promoted(store, tmp_path, "one")
    assert [challenged("a"), challenged("b")] == [1, 2]
    promoted(store, tmp_path, "two")
    assert challenged("c") == 1
    rollback(store, "two fails on children")
    assert challenged("d") == 3


def test_the_requests_do_not_grow_with_the_challenges(tmp_path: Path):
    store = FileStore(tmp_path)
    for number in range(60):
        counting = CountingStore(store)
        assert challenge_number(counting, entry(f"model {number}")) == number + 1
        assert [each.partition(" ")[0] for each in counting.asked] == ["LIST", "PUT", "LIST", "PUT"]
    counting = CountingStore(store)
    assert challenge_number(counting, entry("model 7")) == 8
    assert len(counting.asked) == 1


def test_candidates_of_one_moment_never_spend_more_than_one_after_the_other(store: Store):
    def challenged(model: str) -> int:
        return challenge_number(open_store(store.url), entry(model))

    models = [f"model {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as racers:
        numbers = list(racers.map(challenged, models))
    assert all(number >= least for least, number in enumerate(sorted(numbers), start=1))
    assert list(map(challenged, models)) == numbers  # which they keep
    assert challenged("later") == 9


class Interrupting(FileStore):
    """A store in which something happens before the second listing."""

    happens: Callable[[], object]
    listed = 0

    def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        self.listed += 1
        if self.listed == 2:
            self.happens()
        return super().list(prefix, after, limit)


def test_another_candidate_that_comes_between_is_counted_by_both(tmp_path: Path):
    store, numbers = Interrupting(tmp_path), []
    store.happens = lambda: numbers.append(challenge_number(FileStore(tmp_path), entry("quicker")))
    numbers.append(challenge_number(store, entry("slower")))
    assert numbers == [2, 2]
    assert challenge_number(store, entry("next")) == 3


def test_a_candidate_that_was_killed_before_it_had_its_number_counts_once(tmp_path: Path):
    store = Interrupting(tmp_path)

    def killed() -> None:
        raise KeyboardInterrupt

    store.happens = killed
    with pytest.raises(KeyboardInterrupt):
        challenge_number(store, entry("one"))
    assert challenge_number(store, entry("two")) == 2
    assert challenge_number(store, entry("one")) == 2  # no less: another may have been judged meanwhile
    assert challenge_number(store, entry("three")) == 3


def test_an_entry_that_is_listed_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(challenges, "LISTING_PAUSES", (0, 0, 0))
    looks = []

    class Late(FileStore):
        def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
            looks.append(prefix)
            return [] if len(looks) < 4 else super().list(prefix, after, limit)

    challenge_number(FileStore(tmp_path), entry("one"))
    assert challenge_number(Late(tmp_path), entry("two")) == 2
    assert len(looks) == 4


def test_the_entries_say_who_challenged_whom(tmp_path: Path):
    store = FileStore(tmp_path)
    challenge_number(store, entry("one"))
    begun, numbered = (
        ChallengeEntry.parse(store.get(key), key) for key in sorted(store.list(f"{CHALLENGES}sunday/"), reverse=True)
    )
    assert (begun.run, begun.model, begun.number) == ("monday", "one", None)
    assert numbered == begun.model_copy(update={"number": 1})
