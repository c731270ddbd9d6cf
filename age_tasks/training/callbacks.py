"""Keras callbacks that let an interrupted training continue after its last finished epoch."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from age_tasks.progress import Progress, named, tell_epochs
from age_tasks.stopwatch import timed
from age_tasks.store.base import atomic_write

log = logging.getLogger(__name__)

Logs = Mapping[str, float]

_FORMAT = 4  # of state.json; a state of another format is discarded
_STATE_ATTRIBUTES = ("wait", "best", "cooldown_counter", "stopped_epoch", "_ema_weights_in_model", "rows")


class History(keras.callbacks.Callback):
    """Collects a row per epoch, in years, and logs it.

    Args:
        epochs: the most that the training may take, for the log.
        metric: name of the MAE among Keras' logs; the validation's has the prefix `val_`.
        images: in an epoch.
        batch_size: in images.
        waited: gives the seconds that the training has waited for input until now.
    """

    async_safe = True  # Keras then does not wait for the numbers of a batch before it starts the next one

    def __init__(self, epochs: int, metric: str, images: int, batch_size: int, waited: Callable[[], float]) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._waited = waited
        self._epochs, self._metric = epochs, metric
        self._images, self._batch_size = images, batch_size

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the clock, and note the learning rate."""
        self._start, self._waited_before = time.perf_counter(), self._waited()
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._progress = Progress(f"epoch {epoch + 1} of at most {self._epochs}, images")
        tell_epochs(self.rows, self._epochs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Log, every few seconds, how far the epoch is and its MAE so far; its last batch has a line of its own."""
        done = (batch + 1) * self._batch_size
        if done < self._images:
            self._progress(done, self._images, f"train MAE so far {float((logs or {})[self._metric]):.2f} years")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append and log the epoch's row."""
        logs, seconds = logs or {}, time.perf_counter() - self._start
        waited = self._waited() - self._waited_before
        mae, val_mae = float(logs[self._metric]), float(logs[f"val_{self._metric}"])
        self.rows.append(
            {
                "epoch": epoch + 1,
                "loss": float(logs["loss"]),
                "mae": mae,
                "val_loss": float(logs["val_loss"]),
                "val_mae": val_mae,
                "learning_rate": self._rate,
                "seconds": round(seconds, 2),
                "input_seconds": round(waited, 2),
            }
        )
        tell_epochs(self.rows, self._epochs)
        log.info(
            "%s: train MAE %.2f, validation MAE %.2f years, %.0f s, %.0f %% of it waiting for input "
            "(at most %.0f s left)",
            named(f"epoch {epoch + 1} of at most {self._epochs}"),
            mae,
            val_mae,
            seconds,
            100 * waited / seconds,
            (self._epochs - epoch - 1) * seconds,
        )


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest `monitor` in a file that is complete at every moment.

    Keras' `ModelCheckpoint` overwrites its file in place: a process killed while it writes loses the best weights.

    It must come after all callbacks that change weights or the optimizer, such as those that lower the learning rate.
    """

    def __init__(self, path: Path, monitor: str) -> None:
        super().__init__()
        self.best = float("inf")
        self.path, self._monitor = path, monitor
        self.just_written = False

    @timed("output")
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Replace the file if the epoch is the best so far."""
        value = float((logs or {})[self._monitor])
        self.just_written = value < self.best
        if self.just_written:
            self.best = value
            temporary = self.path.with_name(f"next-{self.path.name}")
            self.model.save_weights(str(temporary))
            temporary.replace(self.path)


class TrainingState(keras.callbacks.Callback):
    """Keeps the state after each epoch in a folder: weights, optimizer, what dropout draws from, counters of callbacks.

    It must be the last in the list of callbacks.

    Args:
        folder: created if missing.
        best: comes just before it; a file that it has written is copied, since Keras takes far longer to write one.
        callbacks: those whose counters and rows are part of the state, besides `best`.
    """

    def __init__(self, folder: Path, best: BestWeights, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._best, self._callbacks = folder, best, [*callbacks, best]
        self._state: dict[str, Any] = {"format": _FORMAT, "epochs": 0, "stopped": False, "callbacks": {}}

    @property
    def stopped(self) -> bool:
        """Whether the training had ended early."""
        return bool(self._state["stopped"])

    def load(self, model: keras.Model) -> int:
        """Restore the stored state into a compiled model and the callbacks; returns the number of finished epochs."""
        file = self._folder / "state.json"
        state = json.loads(file.read_text()) if file.exists() else {}
        if state.get("format") == _FORMAT:
            self._state = state
            with model.distribute_strategy.scope():  # the optimizer's variables lie where the weights do
                model.optimizer.build(model.trainable_variables)
                model.load_weights(str(self._folder / self._state["weights"]))
            for drawn, values in zip(_random_states(model), self._state["random"], strict=True):
                drawn.assign(values)
            self._restore()
            log.info("continuing after epoch %d, the last one finished", self._state["epochs"])
        elif state:
            log.info("%s is of another version: the training starts from the beginning", file)
        return int(self._state["epochs"])

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Restore the counters, which the callbacks have just reset."""
        self._restore()

    @timed("output")
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the weights, then the state that names them."""
        before, weights = self._state.get("weights"), f"epoch{epoch + 1}.weights.h5"
        if self._best.just_written:
            shutil.copyfile(self._best.path, self._folder / weights)
        else:
            self.model.save_weights(str(self._folder / weights))
        self._state = {
            "format": _FORMAT,
            "epochs": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "weights": weights,
            "random": [keras.ops.convert_to_numpy(drawn).tolist() for drawn in _random_states(self.model)],
            "callbacks": {type(callback).__name__: _counters(callback) for callback in self._callbacks},
        }
        with atomic_write(self._folder / "state.json") as temporary:
            temporary.write_text(json.dumps(self._state))
        if before:
            (self._folder / before).unlink(missing_ok=True)

    def _restore(self) -> None:
        for callback in self._callbacks:
            for name, value in self._state["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)


def _random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of the random generators of its layers, such as dropout's; no file of weights holds them."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _counters(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """What a callback counts, as JSON types."""
    found = {name: getattr(callback, name) for name in _STATE_ATTRIBUTES if hasattr(callback, name)}
    plain = (int, float, bool, list, type(None))
    return {name: value if isinstance(value, plain) else float(value) for name, value in found.items()}
