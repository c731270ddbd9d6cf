"""The stages, one module each, in the order of the DAG."""

import importlib

from age_tasks.runs import Stage

STAGES = ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "gate", "publish")


def load_stage(name: str) -> Stage:
    """The stage's module; imported only when asked for, since some bring TensorFlow."""
    return importlib.import_module(f"age_tasks.stages.{name}")
