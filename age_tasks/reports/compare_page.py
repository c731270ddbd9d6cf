"""Runs side by side: settings, labels, metrics, learning curves, and the faces whose predicted ages differ most."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd

from age_tasks.config import SettingChange
from age_tasks.data.label_columns import PERSON
from age_tasks.errors import NotFoundError
from age_tasks.evaluation.comparison import compare
from age_tasks.evaluation.results import Metrics, PairedComparison
from age_tasks.pipeline import STAGES, gate_decision
from age_tasks.reports.face_sheets import changed_most
from age_tasks.reports.html import render
from age_tasks.reports.line_chart import LineChart, line_chart
from age_tasks.reports.safe_csv import as_written
from age_tasks.reports.thumbnails import Faces, faces_of
from age_tasks.runs.records import RunSettings, StageRecord
from age_tasks.runs.run import StoredRun
from age_tasks.store.remembering import RememberingStore

FACE_PIXELS = 96
SAMPLES = 1000  # behind each interval of this page; those of the gate are behind many more
TRAININGS = ("baseline", "finetune")
NAMES = "ABCD"
LABELS = {
    "rows": ("validate", "rows"),
    "accepted": ("validate", "accepted"),
    "quarantined": ("validate", "quarantined"),
    "train": ("split", "train"),
    "validation": ("split", "val"),
    "test": ("split", "test"),
}

_readers = ThreadPoolExecutor(len(NAMES), "compare")  # kept, with their connections, for the next page


@dataclass(frozen=True)
class ComparedRun:
    """A run, as far as it got.

    Args:
        name: on the page, `A` to `D`.
        verdict: of the gate; empty before it.
        metrics, predictions: of `evaluate`; None before it. `predictions` has columns file_name, sha256, real_age and
            finetune (years).
        faces: of the images in `predictions`.
    """

    name: str
    key: str
    settings: RunSettings
    records: Mapping[str, StageRecord]
    verdict: str
    passed: bool
    metrics: Metrics | None
    predictions: pd.DataFrame | None
    curves: Mapping[str, pd.DataFrame]
    faces: Faces

    @property
    def seconds(self) -> float:
        """Of computing that this run itself did."""
        return sum(record.seconds for record in self.records.values() if not record.reused_from)


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is, a cell per run, and whether they differ."""

    name: str
    cells: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return len(set(self.cells)) > 1


@dataclass(frozen=True)
class Paired:
    """A run against the first, on the test images of both that have the same label in both.

    Args:
        result: None if they share no such image.
        faces: whose predicted ages got worse, then better, from the first run to this one.
    """

    name: str
    result: PairedComparison | None
    left_out: int
    faces: tuple["Face", ...] = ()


@dataclass(frozen=True)
class Face:
    """A test image: ages in years, and a data URI, None if the image is gone, changed, or out of reach."""

    file_name: str
    real: float
    before: float
    after: float
    image: str | None

    @property
    def worse(self) -> bool:
        """Whether the error grew."""
        return abs(self.after - self.real) > abs(self.before - self.real)


def compare_page(runs: Sequence[StoredRun]) -> str:
    """The page's HTML; links are relative to its address in Airflow.

    Args:
        runs: 2 to 4; those that started later are compared with the one that started first.

    Raises:
        MissingInputError: one of them was never started.
    """
    remembered = [StoredRun(run.key, RememberingStore(run.store)) for run in runs]
    started = dict(zip(remembered, _readers.map(lambda run: run.settings().created, remembered), strict=True))
    by_time = sorted(remembered, key=started.__getitem__)
    compared = list(_readers.map(_read, by_time, NAMES))
    first, *others = compared
    return render(
        "compare.html.j2",
        runs=compared,
        settings=[row for row in _settings(compared) if row.differs],
        labels=list(_labels(compared)),
        metrics=list(_metrics(compared)),
        paired=[_paired(first, other) for other in others],
        curves={stage: chart for stage in TRAININGS if (chart := _curves(compared, stage))},
        samples=SAMPLES,
    )


def _read(run: StoredRun, name: str) -> ComparedRun:
    records = {stage: record for stage in STAGES if (record := run.record(stage))}
    gate = records.get("gate")
    decision = gate_decision(run.key, gate) if gate and gate.done else None
    metrics = _output(run, "evaluate", "metrics.json")
    return ComparedRun(
        name=name,
        key=run.key,
        settings=run.settings(),
        records=records,
        verdict=decision.verdict if decision else "",
        passed=bool(decision and decision.passed),
        metrics=Metrics.parse(metrics, run.where("evaluate", "metrics.json")) if metrics else None,
        predictions=_predictions(_output(run, "evaluate", "predictions.csv")),
        curves={
            stage: table for stage in TRAININGS if (table := _table(_output(run, stage, "history.csv"))) is not None
        },
        faces=faces_of(run, "evaluate"),
    )


def _output(run: StoredRun, stage: str, name: str) -> bytes | None:
    try:
        return run.read(stage, name)
    except NotFoundError:
        return None


def _predictions(content: bytes | None) -> pd.DataFrame | None:
    table = _table(content)
    return None if table is None else table.assign(file_name=table["file_name"].map(as_written))


def _table(content: bytes | None) -> pd.DataFrame | None:
    text = dict.fromkeys(("file_name", "sha256", PERSON), "str")
    return None if content is None else pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False)


def _rows(runs: Sequence[ComparedRun], cells: Mapping[str, Callable[[ComparedRun], str]]) -> Iterator[Row]:
    for name, cell in cells.items():
        yield Row(name, tuple(cell(run) for run in runs))


def _settings(runs: Sequence[ComparedRun]) -> Iterator[Row]:
    """Every setting that one of them has."""
    flat = [dict(_flat(run.settings.config)) for run in runs]
    for name in dict.fromkeys(name for each in flat for name in each):
        yield Row(name, tuple(each.get(name, "–") for each in flat))


def _flat(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for section, value in config.items():
        if isinstance(value, Mapping):
            yield from ((f"{section}.{name}", _shown(each)) for name, each in value.items())
        else:
            yield section, _shown(value)


def _shown(value: object) -> str:
    return SettingChange(name="", value=value, recipe=None).shown


def _labels(runs: Sequence[ComparedRun]) -> Iterator[Row]:
    yield Row("labels file", tuple(run.settings.labels for run in runs))
    yield Row("sha256 of the labels", tuple(_digest(run) for run in runs))
    for name, (stage, number) in LABELS.items():
        yield Row(name, tuple(_number_of(run, stage, number) for run in runs))


def _digest(run: ComparedRun) -> str:
    outputs = run.records["snapshot"].outputs if "snapshot" in run.records else {}
    return f"{outputs['labels.csv'].sha256[:12]}…" if "labels.csv" in outputs else "–"


def _number_of(run: ComparedRun, stage: str, number: str) -> str:
    found = run.records[stage].summary.get(number) if stage in run.records else None
    return "–" if found is None else str(found)


def _metrics(runs: Sequence[ComparedRun]) -> Iterator[Row]:
    """Of the fine-tuned models, each on the test images of its own run."""

    def cell(of: Callable[[Metrics], str]) -> Callable[[ComparedRun], str]:
        return lambda run: of(run.metrics) if run.metrics else "–"

    yield from _rows(
        runs,
        {
            "test MAE": cell(
                lambda found: (
                    f"{found.finetune.mae.value:.2f} ({found.finetune.mae.low:.2f} to {found.finetune.mae.high:.2f})"
                )
            ),
            "test MAE of the baseline": cell(lambda found: f"{found.baseline.mae.value:.2f}"),
            "within 5 years": cell(lambda found: f"{100 * found.finetune.cs5.value:.1f} %"),
            "bias": cell(lambda found: f"{found.finetune.bias.value:+z.2f}"),
            "test images": cell(lambda found: str(found.images)),
            "seconds of computing": lambda run: f"{run.seconds:.0f}",
        },
    )


def _curves(runs: Sequence[ComparedRun], stage: str) -> LineChart | None:
    return line_chart(
        {
            f"{run.name}, validation MAE": run.curves[stage]["val_mae"].tolist() if stage in run.curves else []
            for run in runs
        }
    )


def _paired(first: ComparedRun, other: ComparedRun) -> Paired:
    if first.predictions is None or other.predictions is None:
        return Paired(other.name, None, 0)
    columns = ["sha256", "real_age", "finetune"]
    # The same image may stand under two names.
    before = first.predictions[columns].rename(columns={"finetune": "champion"}).drop_duplicates(columns[:2])
    person = [PERSON] if PERSON in other.predictions else []  # intervals then resample people
    both = other.predictions[["file_name", *columns, *person]].merge(before, on=["sha256", "real_age"])
    left_out = len(other.predictions) - len(both)
    if both.empty:
        return Paired(other.name, None, left_out)
    edges = other.records["evaluate"].settings["evaluate"]["bin_edges"]
    result = compare(both, edges, SAMPLES, seed=0)
    return Paired(other.name, result, left_out, tuple(_faces(changed_most(both), other.faces)))


def _faces(rows: pd.DataFrame, faces: Faces) -> Iterator[Face]:
    """The faces of these rows, from the folder or bucket of the images, as far as they can be read from here."""
    columns = (rows[name] for name in ("file_name", "sha256", "real_age", "champion", "finetune"))
    for name, sha256, real, before, after in zip(*columns, strict=True):
        yield Face(name, real, before, after, faces.uri(name, FACE_PIXELS, sha256))
