"""What a peer is given, and what it gives back."""

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from age_tasks.config import Config, config_from_dict
from age_tasks.runs.provenance import peak_memory_bytes

BEST = "best.weights"  # in the working directory


@dataclass
class Task:
    """One training of a peer, from its start to its result.

    Args:
        splits: tables `train`, `val`, `test` with columns file_name, real_age.
        images: the folder of the images.
        config: all settings.
        out: the file of the result.
    """

    splits: dict[str, pd.DataFrame]
    images: Path
    config: Config
    out: Path
    epochs: list[dict[str, float]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def paths(self, split: str) -> list[str]:
        """The files of a split's images."""
        return [str(self.images / name) for name in self.splits[split]["file_name"]]

    def ages(self, split: str) -> np.ndarray:
        """The ages of a split, float32, in years."""
        return self.splits[split]["real_age"].to_numpy("float32")

    def epoch_ended(self, val_mae: float) -> None:
        """Note an epoch's validation MAE, in years, and when it was known."""
        self.epochs.append({"seconds": round(time.perf_counter() - self.started, 1), "val_mae": float(val_mae)})

    def finish(self, ages: np.ndarray) -> None:
        """Write the result.

        Args:
            ages: predicted for the test images, in years.
        """
        result = {
            "seconds": round(time.perf_counter() - self.started, 1),
            "peak_memory_gb": round(peak_memory_bytes() / 1e9, 2),
            "test_mae": float(np.abs(ages - self.ages("test")).mean()),
            "epochs": self.epochs,
        }
        self.out.write_text(json.dumps(result, indent=2) + "\n")


def read_task(description: str) -> Task:
    """The task that the command line names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=Path, required=True, help="folder with train.csv, val.csv, test.csv")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="all settings, JSON")
    parser.add_argument("--out", type=Path, required=True, help="result, JSON")
    options = parser.parse_args()
    splits = {name: pd.read_csv(options.splits / f"{name}.csv") for name in ("train", "val", "test")}
    return Task(splits, options.images, config_from_dict(json.loads(options.config.read_text())), options.out)
