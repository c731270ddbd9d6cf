"""Which tests are slow; runs without them (`-m "not slow"`, `make test-fast`) may not import TensorFlow or Airflow."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Folders and modules that import TensorFlow or Airflow, or whose tests all start processes that do.
SLOW_MODULES = (
    "dags",
    "docker",
    "e2e",
    "faults/test_kills.py",
    "faults/test_soak.py",
    "plugins",
    "stages/test__train.py",
    "stages/test_finetune.py",
    "serving/test_litert.py",
    "test_security.py",
    "training",
)
# What trains, starts Airflow or installs the package: every test that uses it is slow.
SLOW_FIXTURES = {"airflow", "airflow_process", "api_server", "finished", "installed", "undisturbed"}
FORBIDDEN = ("tensorflow", "keras", "airflow")


def is_fast_run(config: pytest.Config) -> bool:
    """Whether slow tests were deselected."""
    return "not slow" in config.option.markexpr


def is_slow_module(path: Path) -> bool:
    """Whether every test of this module, or in this folder, is slow."""
    return any(path.is_relative_to(TESTS / slow) for slow in SLOW_MODULES)


def uses_slow_fixture(item: pytest.Item) -> bool:
    """Whether the test uses a slow fixture, be it through another one."""
    return not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def forbid_imports() -> None:
    """From now on, importing TensorFlow, Keras or Airflow fails in this process."""
    if not any(isinstance(finder, _Forbidden) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Forbidden())


class _Forbidden:
    """An import finder that refuses."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in FORBIDDEN:
            raise AssertionError(f"a fast test imports {name}: mark it slow, or list its module in {__file__}")
