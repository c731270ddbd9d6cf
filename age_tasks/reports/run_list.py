"""Every run with its decisions: verdicts of the gate, answers of people, and what became of the candidate."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from age_tasks.errors import DamagedError, MissingInputError
from age_tasks.pipeline import STAGES, gate_decision
from age_tasks.registry.decisions import Decision, by_run, decisions
from age_tasks.registry.promotions import Promotion, history
from age_tasks.runs.keys import RECORD
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import Store

READERS = 8  # documents that are read at the same time: a store on S3 answers each in some milliseconds


@dataclass(frozen=True)
class ListedRun:
    """One run, its decisions in their order, and its last stage that has a record.

    Args:
        damaged: what can't be read of it; empty if all can.
        started: ISO time; empty if `run.json` is gone.
        who: the person who started it; empty if that is not known.
        kept: whether its folder is still in the store.
        promotion: the entry of the promotion log that this run wrote.
        labels: how many it accepted; None before they were validated.
    """

    key: str
    started: str
    who: str
    kept: bool
    last: StageRecord | None
    decisions: tuple[Decision, ...]
    promotion: Promotion | None
    damaged: str = ""
    labels: int | None = None

    @property
    def seconds(self) -> float | None:
        """From the start of the run to the end of its last stage; None if one of them is not known."""
        if not (self.started and self.last):
            return None
        return (datetime.fromisoformat(self.last.finished) - datetime.fromisoformat(self.started)).total_seconds()

    def says(self, text: str) -> bool:
        """Whether a word of its row in the list contains this text, in any case."""
        said = (self.key, self.started, self.who, self.outcome, *(each.verdict for each in self.decisions))
        return text.casefold() in " ".join(said).casefold()

    @property
    def test_mae(self) -> float | None:
        """The candidate's test MAE in years, as the gate saw it last."""
        return next((each.test_mae for each in reversed(self.decisions) if each.test_mae is not None), None)

    @property
    def refused(self) -> bool:
        """Whether the gate or a person refused the candidate, and nobody approved it later."""
        return bool(self.decisions) and not self.decisions[-1].passed

    @property
    def mood(self) -> str:
        """How the page colours the outcome: `good`, `bad`, or neither."""
        if self.damaged or (self.last and not self.last.done):
            return "bad"
        return "good" if self.promotion else ""

    @property
    def outcome(self) -> str:
        """What became of the run, in a few words."""
        if self.promotion:
            return f"promoted as {self.promotion.name}"
        if self.damaged:
            return self.damaged
        if self.last is None:
            return "nothing finished" if self.kept else "removed"
        if not self.last.done:
            return f"failed in {self.last.stage}: {(self.last.error or '').partition(chr(10))[0]}"
        if self.last.stage != STAGES[-1]:
            return f"finished up to {self.last.stage}"
        version = self.last.summary.get("version")
        return f"the model is {version} already" if version else "not promoted"


def all_runs(store: Store) -> list[ListedRun]:
    """The runs of which the store holds a folder or a decision, the one started last first."""
    stages: dict[str, set[str]] = {}
    for key in store.list("runs/"):
        _, run, *rest = key.split("/")
        stages.setdefault(run, set()).update(rest[:1] if rest[1:] == [RECORD] else ())
    decided = by_run(decisions(store))
    promoted = {entry.run: entry for entry in history(store) if entry.run}
    listed = partial(_listed, store, stages, decided, promoted)
    with ThreadPoolExecutor(READERS) as readers:
        runs = list(readers.map(listed, dict.fromkeys([*stages, *decided])))
    return sorted(runs, key=_time, reverse=True)


def _time(run: ListedRun) -> str:
    return run.started or (run.decisions[0].at if run.decisions else "")


def _listed(
    store: Store,
    stages: dict[str, set[str]],
    decided: dict[str, list[Decision]],
    promoted: dict[str, Promotion],
    key: str,
) -> ListedRun:
    run, kept, found = StoredRun(key, store), key in stages, decided.get(key, [])
    finished = [stage for stage in STAGES if stage in stages.get(key, ())]
    started, who, last, damaged, labels = "", "", None, "", None
    try:
        with contextlib.suppress(MissingInputError):
            settings = run.settings()
            started, who = settings.created, settings.who
        last = run.record(finished[-1]) if finished else None
        found = found or _recorded_decisions(run, finished, last)
        if "validate" in finished and (validated := run.record("validate")):
            labels = validated.summary.get("accepted")
    except DamagedError as error:
        damaged = str(error)
    return ListedRun(key, started, who, kept, last, tuple(found), promoted.get(key), damaged, labels)


def _recorded_decisions(run: StoredRun, finished: list[str], last: StageRecord | None) -> list[Decision]:
    """What the records say of a run of an earlier version, which kept no decisions."""
    found: list[Decision] = []
    if "gate" in finished and (gate := run.record("gate")) and gate.done:
        found.append(gate_decision(run.key, gate))
    if last and "approval" in last.summary:
        passed, verdict = bool(last.summary.get("published")), str(last.summary["approval"])
        found.append(Decision(run=run.key, by="person", passed=passed, verdict=verdict, at=last.finished))
    return found
