"""The stages in order, and what each one's result depends on."""

import importlib
from dataclasses import dataclass
from typing import Protocol

from age_tasks.config import Config
from age_tasks.runs.run import Run, Summary


@dataclass(frozen=True)
class Needs:
    """What a stage reads, known without importing it: earlier stages, and sections of the settings.

    A stage that `remembers` also reads what it wrote last time, in whichever run that was; one that `compares` reads
    the champion; one that `heeds` reads what a person said to the promotion. One that `waits` is not begun with fewer
    than `data.min_new_labels` new labels.
    """

    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    remembers: bool = False
    compares: bool = False
    heeds: bool = False
    waits: bool = False


NEEDS = {
    "snapshot": Needs(),
    "validate": Needs(("snapshot",), ("validate",), remembers=True),
    "split": Needs(("validate",), ("split",), remembers=True, waits=True),
    "baseline": Needs(("split",), ("model", "views", "baseline")),
    "finetune": Needs(("split", "baseline"), ("finetune",)),
    "evaluate": Needs(("split", "baseline", "finetune"), ("evaluate",), compares=True),
    "gate": Needs(("evaluate",), ("gate",)),
    "publish": Needs(("split", "baseline", "finetune", "evaluate", "gate"), ("card",), heeds=True),
}


STAGES = tuple(NEEDS)


class Stage(Protocol):
    """What every module in `age_tasks.stages` offers."""

    def run(self, run: Run, config: Config) -> Summary: ...


def load_stage(name: str) -> Stage:
    """The stage's module; imported only when asked for, since some bring TensorFlow."""
    return importlib.import_module(f"age_tasks.stages.{name}")
