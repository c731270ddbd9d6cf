"""Everything that looks at the history in the store, by name; each is given the store and a local folder for copies."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from age_tasks.errors import TooFewNewError
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import champion, model_to_beat
from age_tasks.reports.history_text import history_table, runs_table
from age_tasks.reports.labels_page import labels_page
from age_tasks.reports.models_page import models_page
from age_tasks.runs.listing import newest_run, previous_run
from age_tasks.runs.run import Workspace
from age_tasks.stages.preconditions import require_new_labels
from age_tasks.store.base import Store


def _previous(store: Store, folder: Path) -> object:
    return previous_run(Workspace("run00001", store, folder / "cache", folder / "scratch"), "split")


def _new_labels(store: Store, folder: Path) -> None:
    run = Workspace("run00001", store, folder / "cache", folder / "scratch")
    with contextlib.suppress(TooFewNewError):
        require_new_labels(run, 100)


LOOKS: dict[str, Callable[[Store, Path], object]] = {
    "newest run with five stages": lambda store, _: newest_run(store, STAGES[:5]),
    "newest run with settings that no run had": lambda store, _: newest_run(
        store, ["split"], None, {"split": {"x": 1}}
    ),
    "previous run": _previous,
    "`data.min_new_labels`": _new_labels,
    "champion": lambda store, _: champion(store),
    "model to beat": lambda store, _: model_to_beat(store, "0" * 64),
    "`age-tasks history`": lambda store, _: history_table(store),
    "`age-tasks history --all`": lambda store, _: runs_table(store),
    "page Age models": lambda store, _: models_page(store),
    "page Age models, a search and its second part": lambda store, _: models_page(store, "refused", 2),
    "page Labels": lambda store, _: labels_page(store),
}
