"""What a training needs to go on from its last finished epoch: weights, optimizer, and what its callbacks remember."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import keras

from age_tasks.store.base import atomic_write

log = logging.getLogger(__name__)

REMEMBERED = ("wait", "best", "cooldown_counter", "stopped_epoch", "_ema_weights_in_model", "rows")


class EpochLog(keras.callbacks.Callback):
    """A row an epoch, in years, and a line of progress."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._start = time.perf_counter()
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = time.perf_counter() - self._start
        train, val = (next(logs[key] for key in logs if key.endswith("mae") and _is_val(key) == of) for of in (0, 1))
        row = {"epoch": epoch + 1, "loss": logs["loss"], "mae": train, "val_loss": logs["val_loss"], "val_mae": val}
        row = {key: float(value) if key != "epoch" else value for key, value in row.items()}
        self.rows.append({**row, "learning_rate": self._rate, "seconds": round(seconds, 2)})
        left = (self._epochs - epoch - 1) * seconds
        log.info(
            "epoch %d of at most %d: train MAE %.2f, validation MAE %.2f years, %.0f s (at most %.0f s left)",
            epoch + 1,
            self._epochs,
            train,
            val,
            seconds,
            left,
        )


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest `monitor` in a file, which is whole whenever a process ends.

    `ModelCheckpoint` writes over the file in place: killed meanwhile, it leaves a training without its best weights.
    """

    def __init__(self, path: Path, monitor: str) -> None:
        super().__init__()
        self.best = float("inf")
        self._path, self._monitor = path, monitor

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs[self._monitor] < self.best:
            self.best = float(logs[self._monitor])
            temporary = self._path.with_name(f"next-{self._path.name}")
            self.model.save_weights(str(temporary))
            temporary.replace(self._path)


class Resume(keras.callbacks.Callback):
    """Keeps the state after each epoch in a folder; comes last in the list of callbacks.

    Args:
        callbacks: whose counters and rows are part of the state.
    """

    def __init__(self, folder: Path, callbacks: list[keras.callbacks.Callback]) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._callbacks = folder, callbacks
        self._state: dict[str, Any] = {"epochs": 0, "stopped": False, "callbacks": {}}

    @property
    def stopped(self) -> bool:
        """Whether the training had ended early."""
        return self._state["stopped"]

    def load(self, model: keras.Model) -> int:
        """Put the kept state into a compiled model and the callbacks; returns how many epochs it has behind it."""
        if (self._folder / "state.json").exists():
            self._state = json.loads((self._folder / "state.json").read_text())
            model.optimizer.build(model.trainable_variables)
            model.load_weights(str(self._folder / self._state["weights"]))
            self._restore()
            log.info("going on after epoch %d, which had finished before", self._state["epochs"])
        return self._state["epochs"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._restore()  # the callbacks have just forgotten

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        before, weights = self._state.get("weights"), f"epoch{epoch + 1}.weights.h5"
        self.model.save_weights(str(self._folder / weights))
        self._state = {
            "epochs": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "weights": weights,
            "callbacks": {type(callback).__name__: _remembered(callback) for callback in self._callbacks},
        }
        with atomic_write(self._folder / "state.json") as temporary:
            temporary.write_text(json.dumps(self._state))
        if before:
            (self._folder / before).unlink(missing_ok=True)

    def _restore(self) -> None:
        for callback in self._callbacks:
            for name, value in self._state["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)


def _remembered(callback: keras.callbacks.Callback) -> dict[str, Any]:
    found = {name: getattr(callback, name) for name in REMEMBERED if hasattr(callback, name)}
    plain = (int, float, bool, list, type(None))
    return {name: value if isinstance(value, plain) else float(value) for name, value in found.items()}


def _is_val(key: str) -> bool:
    return key.startswith("val_")
