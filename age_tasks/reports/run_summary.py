"""The summary table of a run, for the terminal."""

from collections.abc import Iterator

from age_tasks.errors import MissingInputError
from age_tasks.pipeline import STAGES
from age_tasks.runs.listing import newest_run
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import Store


def newest_started(store: Store) -> str:
    """The key of the run whose first stage finished last.

    Raises:
        MissingInputError: the store has no run.
    """
    if key := newest_run(store, STAGES[:1]):
        return key
    raise MissingInputError(f"no run in {store.url}; start one with `age-tasks run`")


def summary_table(run: StoredRun) -> str:
    """Stages with seconds and memory, labels, test MAE, the verdict, and the pages to open.

    Raises:
        MissingInputError: the run was never started.
    """
    run.settings()  # raises for a run that was never started
    records = {stage: record for stage in STAGES if (record := run.record(stage))}
    lines = [f"Run {run.key}", "", f"{'stage':<10} {'seconds':>8} {'peak GB':>8}"]
    for stage, record in records.items():
        lines.append(f"{stage:<10} {record.seconds:>8.1f} {_memory(record):>8}  {_state(record)}".rstrip())
    total = sum(record.seconds for record in records.values())
    lines += [f"{'total':<10} {total:>8.1f}", ""]
    lines += [f"{name:<20} {value}" for name, value in results(records)]
    lines += [f"{name:<20} {where}" for name, where in _pages(run, records)]
    return "\n".join(lines)


def _memory(record: StageRecord) -> str:
    return "" if record.reused_from else f"{record.peak_memory_gb:.2f}"


def _state(record: StageRecord) -> str:
    if not record.done:
        return f"FAILED: {(record.error or '').splitlines()[0]}"
    return f"reused from {key}" if (key := record.reused_from) else ""


def results(records: dict[str, StageRecord]) -> Iterator[tuple[str, str]]:
    """Results of the stages so far, as (name, value): labels, test MAE, the gate's verdict, the published model.

    Args:
        records: by stage, of the stages that have one.
    """
    done = {stage: record.summary for stage, record in records.items() if record.summary}
    if validated := done.get("validate"):
        yield (
            "labels",
            f"{validated['accepted']} accepted, {validated['quarantined']} quarantined of {validated['rows']}",
        )
    if evaluated := done.get("evaluate"):
        steps = {"predict the median": "predict_the_median", "baseline": "baseline", "fine-tuned": "finetune"}
        yield "test MAE (years)", " → ".join(f"{name} {evaluated[f'{key}_mae']:.2f}" for name, key in steps.items())
    if judged := done.get("gate"):
        yield "gate", judged["verdict"]
    if approval := done.get("publish", {}).get("approval"):
        yield "approval", approval
    if published := done.get("publish", {}).get("model"):
        yield "published model", published


def _pages(run: StoredRun, records: dict[str, StageRecord]) -> Iterator[tuple[str, str]]:
    for label, stage, name in (
        ("validation page", "validate", "index.html"),
        ("report", "publish", "report.html"),
    ):
        if stage in records and name in records[stage].outputs:
            yield label, run.where(stage, name)
