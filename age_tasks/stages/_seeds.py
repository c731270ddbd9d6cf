"""Fine-tuning with several seeds: train each, and keep the best one or the average of all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from age_tasks.config import Config
from age_tasks.progress import in_part
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._inputs import images_of, read_splits
from age_tasks.stages._train import save_history, save_metrics, save_network
from age_tasks.training.fit import fit
from age_tasks.training.inference import predict_ages
from age_tasks.training.network import averaged, load_network


@dataclass(frozen=True)
class SeedResult:
    """The training with one seed: its network's file, its epochs as in `Trained.history`, and its errors in years."""

    seed: int
    network: Path
    history: pd.DataFrame
    val_mae: float
    test_mae: float
    best_epoch: int
    images_per_second: float

    @property
    def row(self) -> dict[str, Any]:
        """For `seeds.csv`."""
        return {
            "seed": self.seed,
            "val_mae": round(self.val_mae, 3),
            "test_mae": round(self.test_mae, 3),
            "best_epoch": self.best_epoch,
            "epochs": len(self.history),
        }


def train_seeds_and_save(start: Callable[[int], keras.Model], config: Config, run: Workspace) -> Summary:
    """Fine-tune with each seed of the settings and write the result into the stage's folder.

    Writes what a single fine-tuning writes, of the network that the settings choose; `history.csv` and
    `learning_curve.png` are those of the seed with the lowest validation MAE. Besides, `seeds.csv` has a row for each
    seed, and `seed_histories.csv` every epoch of each.

    The choice is by the validation images alone: the test images stay unseen.

    Args:
        start: the network as it is before a training, frozen as the settings say, made anew for each seed; of the
            number of the training, counted from 0.
    """
    results, out = list(_trainings(start, config, run)), run.output_dir
    best = min(results, key=lambda result: result.val_mae)
    save_history(f"finetune, seed {best.seed}", best.history, out)
    rows = pd.DataFrame([result.row for result in results])
    rows.to_csv(out / "seeds.csv", index=False)
    histories = [result.history.assign(seed=result.seed) for result in results]
    pd.concat(histories).to_csv(out / "seed_histories.csv", index=False)

    average = config.finetune.combine == "average"
    network = averaged([load_network(each.network) for each in results]) if average else load_network(best.network)
    metrics = {
        **save_network(network, read_splits(run), config, run),
        **({} if average else {"val_mae": round(best.val_mae, 3)}),
        "best_epoch": best.best_epoch,
        "epochs": len(best.history),
        "seeds": len(results),
        "kept": f"average of {len(results)} seeds" if average else f"seed {best.seed}",
        **_spread("val_mae", [result.val_mae for result in results]),
        **_spread("test_mae", [result.test_mae for result in results]),
    }
    save_metrics("finetune", metrics | {"each_seed": rows.to_dict("records")}, out)
    return metrics | {"images_per_second": round(best.images_per_second, 1)}


def _trainings(start: Callable[[int], keras.Model], config: Config, run: Workspace) -> Iterator[SeedResult]:
    """The trainings one after the other; of each, the weights are in a file when the next begins.

    An interrupted stage comes by all seeds again: those that were finished are read from their checkpoints.
    """
    splits, folder, seeds = read_splits(run), images_of(run), config.finetune.each_seed()
    for number, seed in enumerate(seeds):
        with in_part(f"seed {seed} ({number + 1} of {len(seeds)})"):
            settings, model = config.finetune.model_copy(update={"seed": seed}), start(number)
            trained = fit(model, splits, folder, settings, config, run.cache, run.checkpoint_dir / f"seed{seed}")
            ages = predict_ages(model, splits["test"], folder, run.cache, config)
            network = run.scratch / f"seed{seed}.keras"
            model.save(network)
            yield SeedResult(
                seed=seed,
                network=network,
                history=trained.history,
                val_mae=trained.val_mae,
                test_mae=float(np.abs(ages - splits["test"]["real_age"].to_numpy()).mean()),
                best_epoch=trained.best_epoch,
                images_per_second=trained.images_per_second,
            )
        del model, trained
        keras.utils.clear_session()  # or the networks of all seeds stay in memory


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation over the seeds."""
    return {f"{name}_mean": round(float(np.mean(values)), 3), f"{name}_sd": round(float(np.std(values, ddof=1)), 3)}
