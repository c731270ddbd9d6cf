"""The challenges of each champion: every candidate that reached the gate against it, counted once.

    registry/challenges/<version>/<evidence>__begun.json       written before the others are counted; never changed
    registry/challenges/<version>/<evidence>__<number>.json    its number, which it keeps; never changed

The evidence is the candidate's model on one set of test images: the gate that is repeated for it, in the same run or in
another, is the same challenge. A version that is rolled back to goes on from where it was, since it is tried on the
same images again. Names say all that is needed, so that one listing counts them; there is no index.
"""

import hashlib
import time
from collections.abc import Iterable

from age_tasks.errors import StoreError
from age_tasks.registry.promotions import LISTING_PAUSES
from age_tasks.store.base import Store
from age_tasks.store.documents import Document

CHALLENGES = "registry/challenges/"
BEGUN = "begun"


class ChallengeEntry(Document):
    """A candidate that reached the gate against the version `champion`, and its number once that is known.

    `model` is the sha256 of the candidate, `test` that of the table of test images; `at` is ISO in UTC.
    """

    champion: str
    model: str
    test: str
    run: str
    at: str
    number: int | None = None


def challenge_number(store: Store, entry: ChallengeEntry) -> int:
    """Which challenge of the champion this is, from 1 on; one listing where it was counted before, else four requests.

    Of candidates that begin at the same time, each counts all that it sees begun, its own among them. So two may have
    the same number, but the n-th that begins never has one below n: together they spend no more of the error.

    Args:
        entry: without a number.

    Raises:
        StoreError: the store has the entry but does not list it.
    """
    folder = f"{CHALLENGES}{entry.champion}/"
    evidence = hashlib.sha256(f"{entry.model} {entry.test}".encode()).hexdigest()[:16]
    names = _names(store.list(folder))
    if numbers := [int(state) for name, state in names if name == evidence and state.isdecimal()]:
        return max(numbers)
    if (evidence, BEGUN) not in names:
        begun = f"{folder}{evidence}__{BEGUN}.json"
        store.put(begun, entry.to_bytes())
        names = _names(_listed_with(store, folder, begun))
    number = len({name for name, _ in names})
    store.put(f"{folder}{evidence}__{number}.json", entry.model_copy(update={"number": number}).to_bytes())
    return number


def _names(keys: Iterable[str]) -> set[tuple[str, str]]:
    """Evidence and state of the entries with these keys."""
    parts = (key.rpartition("/")[2].removesuffix(".json").partition("__") for key in keys)
    return {(evidence, state) for evidence, _, state in parts}


def _listed_with(store: Store, folder: str, key: str) -> list[str]:
    """The keys in the folder with this one among them: some stores list a new object only after a while."""
    for pause in LISTING_PAUSES:
        time.sleep(pause)
        if key in (keys := store.list(folder)):
            return keys
    raise StoreError(
        f"{store.where(key)} is written, but the store has not listed it within {sum(LISTING_PAUSES)} seconds; run "
        "gate again"
    )
