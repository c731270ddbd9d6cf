"""The promotion log as text for the terminal."""

from age_tasks.errors import DamagedError, NotFoundError
from age_tasks.registry.promotions import VERSIONS, Promotion, history, manifest
from age_tasks.store.base import Store

NONE_YET = "No model has been promoted yet."
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
        f"  run    {entry.run or 'none: rolled back by a person'}",
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
        lines.append(f"{facts} {'' if entry.run else 'rolled back: '}{entry.why}{RACED if entry.raced else ''}")
    return "\n".join(lines)


def _mae(store: Store, entry: Promotion) -> str:
    try:
        return f"{manifest(store, entry.version).test_mae:.2f}"
    except NotFoundError:
        return "removed"
    except DamagedError:
        return "damaged"
