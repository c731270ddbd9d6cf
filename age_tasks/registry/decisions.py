"""The decisions about candidates: verdicts of the gate and answers of people, each an object that is never changed.

    registry/decisions/<time>-<digest of the content>.json
    index/decisions/…                                         packs of all of them

A run that is cleared and decided again adds decisions: the earlier ones stay. The same decision, written once more by
a task that is tried again, is the same object.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from age_tasks.config import SettingChange
from age_tasks.registry.approval import Approval
from age_tasks.registry.version_facts import MaeInterval
from age_tasks.store.base import Store
from age_tasks.store.compacted import CompactedFolder, DocumentPack
from age_tasks.store.documents import Document
from age_tasks.store.packs import only_logged

DECISIONS = "registry/decisions/"
INDEX = "index/decisions/"


class InUse(BaseModel):
    """The MAE of the champion `name` on `images` new images, and on its test images if that is known; in years.

    `worse` says that it is higher on the new ones beyond chance.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    images: int
    mae: MaeInterval
    test_mae: MaeInterval | None = None
    worse: bool = False


class Decision(Document):
    """One decision about the candidate of a run.

    `who` is None where nobody answered in time, and for the gate. `verdict` is a sentence; `changed` are settings of
    the gate that differ from the recipe's. `test_mae` is the candidate's in years; `champion` the version, such as
    `v4`, that it was compared with, and `in_use` its error on images that are new since it was trained.
    """

    if_lost: ClassVar[str] = "remove it: the list of decisions then goes without it"

    run: str
    by: Literal["gate", "person"]
    passed: bool
    verdict: str
    at: str
    who: str | None = None
    why: str = ""
    test_mae: float | None = None
    champion: str | None = None
    changed: tuple[SettingChange, ...] = ()
    in_use: InUse | None = None


def answer_of(run: str, approval: Approval, at: str) -> Decision:
    """A person's answer as a decision.

    Args:
        at: ISO time, for an answer without one.
    """
    return Decision(
        run=run,
        by="person",
        passed=approval.approved,
        verdict=approval.sentence,
        at=approval.at or at,
        who=approval.who,
        why=approval.why,
    )


def put_decision(store: Store, decision: Decision) -> None:
    """Add a decision to the store."""
    content = decision.to_bytes()
    time = datetime.fromisoformat(decision.at).astimezone(UTC)
    store.put(f"{DECISIONS}{time:%Y%m%dT%H%M%S%fZ}-{hashlib.sha256(content).hexdigest()[:8]}.json", content)
    with only_logged():
        kept = _kept(store)
        kept.compact(kept.read())


def decisions(store: Store) -> list[Decision]:
    """Every decision, the oldest first; three requests as a rule, however many there are."""
    return list(_kept(store).read().documents.values())


def rebuild_index(store: Store) -> int:
    """Build the index of decisions anew; returns their number."""
    return _kept(store).rebuild()


def _kept(store: Store) -> CompactedFolder[Decision]:
    return CompactedFolder(store, DECISIONS, INDEX, Decision, DocumentPack[Decision])


def by_run(found: Iterable[Decision]) -> dict[str, list[Decision]]:
    """Decisions by the key of their run, in their order."""
    runs: dict[str, list[Decision]] = {}
    for decision in found:
        runs.setdefault(decision.run, []).append(decision)
    return runs
