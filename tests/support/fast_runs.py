"""Which tests are slow; runs without them (`-m "not slow"`, `make test-fast`) may not import TensorFlow or Airflow."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Folders and modules that import TensorFlow or Airflow, whose tests all start processes that do, or that take long.
SLOW_MODULES = (
    "dags",
    "docker",
    "e2e",
    "faults",
    "plugins",
    "refusals/test_plugin.py",
    "refusals/test_s3.py",
    "refusals/test_training.py",
    "refusals/test_validate.py",
    "serving/test_litert.py",
    "stages/test__seeds.py",
    "stages/test__train.py",
    "stages/test_features.py",
    "stages/test_finetune.py",
    "stages/test_validate.py",
    "store/test_s3_errors.py",
    "test_security.py",
    "training",
)
# What trains, starts Airflow or an S3 server, or installs the package: every test that uses it is slow.
SLOW_FIXTURES = {"airflow", "airflow_process", "api_server", "finished", "installed", "s3", "s3_server", "undisturbed"}
FORBIDDEN = ("tensorflow", "keras", "airflow")


def is_fast_run(config: pytest.Config) -> bool:
    """Whether slow tests were deselected."""
    return "not slow" in config.option.markexpr


def is_slow_module(path: Path) -> bool:
    """Whether every test of this module, or in this folder, is slow."""
    return any(path.is_relative_to(TESTS / slow) for slow in SLOW_MODULES)


def uses_slow_fixture(item: pytest.Item) -> bool:
    """Whether the test uses a slow fixture, be it through another one or as the parameter of one (`store`)."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    names = {*getattr(item, "fixturenames", ()), *(each for each in parameters if isinstance(each, str))}
    return not SLOW_FIXTURES.isdisjoint(names)


def forbid_imports() -> None:
    """From now on, importing TensorFlow, Keras or Airflow fails in this process."""
    if not any(isinstance(finder, _Forbidden) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Forbidden())


class _Forbidden:
    """An import finder that refuses."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in FORBIDDEN:
            raise AssertionError(f"a fast test imports {name}: mark it slow, or list its module in {__file__}")
