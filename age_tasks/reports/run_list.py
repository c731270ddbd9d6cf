"""Every run with its decisions: verdicts of the gate, answers of people, and what became of the candidate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from age_tasks.pipeline import STAGES
from age_tasks.registry.decisions import Decision, InUse, by_run, decisions
from age_tasks.registry.promotions import Promotion, history
from age_tasks.runs.index import RunFacts, StageFacts, run_facts
from age_tasks.store.base import Store


@dataclass(frozen=True)
class ListedRun:
    """One run, its decisions in their order, and its last stage that has a record.

    Args:
        stage: that stage; empty if there is none.
        last: what became of it.
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
    stage: str
    last: StageFacts | None
    decisions: tuple[Decision, ...]
    promotion: Promotion | None
    damaged: str = ""
    labels: int | None = None

    @property
    def seconds(self) -> float | None:
        """From the start of the run to the end of its last stage; None if one of them is not known.

        Also None while a run that was started anew has still only the later stages of its first time.
        """
        if not (self.started and self.last):
            return None
        took = datetime.fromisoformat(self.last.finished) - datetime.fromisoformat(self.started)
        return took.total_seconds() if took >= timedelta() else None

    def says(self, text: str) -> bool:
        """Whether a word of its row in the list contains this text, in any case."""
        said = (self.key, self.started, self.who, self.outcome, *(each.verdict for each in self.decisions))
        return text.casefold() in " ".join(said).casefold()

    @property
    def test_mae(self) -> float | None:
        """The candidate's test MAE in years, as the gate saw it last."""
        return next((each.test_mae for each in reversed(self.decisions) if each.test_mae is not None), None)

    @property
    def in_use(self) -> InUse | None:
        """The champion's error on images that were new to it, as it was measured last."""
        return next((each.in_use for each in reversed(self.decisions) if each.in_use), None)

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
            return f"failed in {self.stage}: {self.last.error}"
        if self.stage != STAGES[-1]:
            return f"finished up to {self.stage}"
        version = self.last.shown.get("version")
        return f"the model is {version} already" if version else "not promoted"


def all_runs(store: Store, promotions: Sequence[Promotion] | None = None) -> list[ListedRun]:
    """The runs of which the store holds a folder or a decision, the one started last first.

    Args:
        promotions: the promotion log, if it is known already.
    """
    facts, decided = run_facts(store), by_run(decisions(store))
    log = history(store) if promotions is None else promotions
    promoted = {entry.run: entry for entry in log if entry.run}
    keys = dict.fromkeys([*facts, *decided])
    runs = [_listed(key, facts.get(key), decided.get(key, []), promoted.get(key)) for key in keys]
    return sorted(runs, key=_time, reverse=True)


def _time(run: ListedRun) -> str:
    return run.started or (run.decisions[0].at if run.decisions else "")


def _listed(key: str, facts: RunFacts | None, decided: list[Decision], promotion: Promotion | None) -> ListedRun:
    known = facts or RunFacts()
    finished = [(stage, known.stages[stage]) for stage in STAGES if stage in known.stages]
    stage, last = finished[-1] if finished else ("", None)
    return ListedRun(
        key=key,
        started=known.created,
        who=known.who,
        kept=facts is not None,
        stage=stage,
        last=last,
        decisions=tuple(decided or _recorded_decisions(key, known.stages, last)),
        promotion=promotion,
        damaged=next((each for each in (known.damaged, *(stage.damaged for _, stage in finished)) if each), ""),
        labels=known.stages["validate"].shown.get("accepted") if "validate" in known.stages else None,
    )


def _recorded_decisions(run: str, stages: dict[str, StageFacts], last: StageFacts | None) -> list[Decision]:
    """What the records say of a run of an earlier version, which kept no decisions."""
    found: list[Decision] = []
    if "gate" in stages and (gate := stages["gate"]).done:
        said = gate.shown
        found.append(
            Decision(
                run=run,
                by="gate",
                passed=said["passed"],
                verdict=said["verdict"],
                at=gate.finished,
                test_mae=said.get("candidate.value"),
                champion=said.get("champion.name"),
            )
        )
    if last and "approval" in last.shown:
        passed, verdict = bool(last.shown.get("published")), str(last.shown["approval"])
        found.append(Decision(run=run, by="person", passed=passed, verdict=verdict, at=last.finished))
    return found
