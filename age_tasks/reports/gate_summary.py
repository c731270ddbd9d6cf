"""What the pages of the tasks `gate` and `approve` show of the gate's summary and of the decisions about a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from age_tasks.config import SettingChange
from age_tasks.evaluation.results import ChampionComparison, Estimate, Rule
from age_tasks.registry.decisions import Decision, by_run, decisions
from age_tasks.reports.html import render
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import Store

# The sheets that `evaluate` draws beside a champion, and what each shows.
SHEETS_OF_CHANGES = {"got_worse.png": "faces that got worse", "got_better.png": "faces that got better"}


@dataclass(frozen=True)
class GateSummary:
    """The gate's summary, typed; of an earlier version some of it is missing."""

    passed: bool
    verdict: str
    rules: tuple[Rule, ...]
    changed: tuple[SettingChange, ...]
    images: int
    mae: Estimate
    champion: ChampionComparison | None


def gate_summary(summary: Mapping[str, Any]) -> GateSummary | None:
    """The summary of the gate as its stage wrote it; None if it is that of an earlier version."""
    candidate, champion = summary.get("candidate", {}), summary.get("champion")
    try:
        return GateSummary(
            passed=summary["passed"],
            verdict=summary["verdict"],
            rules=tuple(Rule.model_validate(rule) for rule in summary["rules"]),
            changed=tuple(SettingChange.model_validate(change) for change in summary["changed"]),
            images=candidate["images"],
            mae=Estimate.model_validate(candidate),
            champion=ChampionComparison.model_validate(champion) if champion else None,
        )
    except (KeyError, ValidationError):
        return None


def approve_page(run: StoredRun) -> tuple[str, bool]:
    """The page of the task `approve`, and whether it may change by itself: the answers so far, and the gate's numbers.

    An answer is kept when `publish` has read it.
    """
    record, published = run.record("gate"), run.record("publish")
    page = render(
        "approve_summary.html.j2",
        run_key=run.key,
        answers=answers(run.store, run.key),
        published=published is not None,
        gate=gate_summary(record.summary) if record else None,
        sheets={name: SHEETS_OF_CHANGES[name] for name in changed_faces(run.record("evaluate"))},
    )
    return page, published is None


def changed_faces(evaluated: StageRecord | None) -> tuple[str, ...]:
    """The sheets, of those in `SHEETS_OF_CHANGES`, that `evaluate` has drawn: none without a champion."""
    return tuple(name for name in SHEETS_OF_CHANGES if evaluated and name in evaluated.outputs)


def answers(store: Store, run: str) -> list[Decision]:
    """What people answered about a run, the oldest first."""
    return [each for each in by_run(decisions(store)).get(run, []) if each.by == "person"]
