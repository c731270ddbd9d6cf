"""The promotion log and the list of runs as text for the terminal."""

from collections.abc import Iterator

from age_tasks.registry.decisions import Decision
from age_tasks.registry.promotions import VERSIONS, Promotion, history, version_facts
from age_tasks.reports.run_list import ListedRun, all_runs
from age_tasks.store.base import Store

NONE_YET = "No model has been promoted yet."
NO_RUN = "No run has been started yet."
RACED = " (another promotion was written at the same time)"


def describe_champion(store: Store) -> str:
    """The champion in a few lines."""
    promotions = history(store)
    if not promotions:
        return NONE_YET
    entry = promotions[-1]
    lines = [
        f"{entry.name} is in use, test MAE {_mae(store, entry)} years",
        f"  since  {entry.at}",
        f"  by     {entry.who}",
        f"  why    {entry.why}",
        f"  run    {entry.run or f'none: {entry.kind} by a person'}",
        *(f"  with   {change.sentence}" for change in entry.changed),
        f"  files  {store.where(VERSIONS + entry.version)}",
    ]
    return "\n".join(lines)


def history_table(store: Store) -> str:
    """Every entry of the log, newest first; the champion is the first."""
    promotions = history(store)
    if not promotions:
        return NONE_YET
    lines = [f"{'':<6} {'at':<25} {'test MAE':>8}  {'by':<16} why"]
    for entry in reversed(promotions):
        facts = f"{entry.name:<6} {entry.at:<25} {_mae(store, entry):>8}  {entry.who:<16}"
        changed = "".join(f" [{change.sentence}]" for change in entry.changed)
        why = f"{'' if entry.run else f'{entry.kind}: '}{entry.why}{changed}"
        lines.append(f"{facts} {why}{RACED if entry.raced else ''}")
    return "\n".join(lines)


def runs_table(store: Store) -> str:
    """Every run, newest first, with its decisions, one a line: the gate's verdicts and people's answers."""
    runs = all_runs(store)
    return "\n\n".join("\n".join(_lines(run)) for run in runs) if runs else NO_RUN


def _lines(run: ListedRun) -> Iterator[str]:
    mae = "" if run.test_mae is None else f", test MAE {run.test_mae:.2f} years"
    yield f"{run.key}: {run.outcome}{mae}"
    if run.started:
        yield f"  {run.started[:19]}  started" + (f" by {run.who}" if run.who else "")
    yield from (f"  {decision.at[:19]}  {_said(decision)}" for decision in run.decisions)
    if run.promotion:
        yield f"  {run.promotion.at[:19]}  {run.promotion.name} promoted by {run.promotion.who}"


def _said(decision: Decision) -> str:
    return f"the gate: {decision.verdict}" if decision.by == "gate" else decision.verdict


def _mae(store: Store, entry: Promotion) -> str:
    facts = version_facts(store, entry)
    return facts.lost or ("–" if facts.test_mae is None else f"{facts.test_mae:.2f}")
