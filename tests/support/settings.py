"""Settings and environment variables that tests run with."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("AGE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
QUICK: dict[str, object] = {
    "model.image_size": 64,
    "baseline.epochs": 3,
    "finetune.epochs": 2,
    "evaluate.bootstrap_samples": 200,
    "gate.max_test_mae": 40,
    "validate.max_quarantine_fraction": 0.2,
}


def overrides(settings: Mapping[str, object]) -> list[str]:
    """The settings as arguments of the command line."""
    return [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def point_at(patch: pytest.MonkeyPatch, root: Path, labels: Path) -> None:
    """Point the `AGE_*` variables at a store and a cache in `root` and at the labels; unset all others."""
    for name in [name for name in os.environ if name.startswith("AGE_") and name != "AGE_SHARED_DATA"]:
        patch.delenv(name)
    patch.setenv("AGE_LABELS", str(labels))
    patch.setenv("AGE_STORE", (root / "store").as_uri())
    patch.setenv("AGE_CACHE", str(root / "cache"))
