"""The model as LiteRT (TFLite), which phones and small servers run without TensorFlow: if its ages are the same."""

import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from age_tasks.data.decoding import load_rgb
from age_tasks.errors import AgeTasksError

log = logging.getLogger(__name__)

BOUND = 0.05  # years; other kernels round otherwise, by some thousandths
COMPARED = 64  # pictures that say enough


def contract(size: int) -> dict:
    """What goes into a model and what comes out, for its manifest.

    Args:
        size: side of the pictures in pixels.
    """
    return {
        "input": {"dtype": "float32", "shape": [None, size, size, 3], "channels": "RGB", "values": [0, 255]},
        "output": {"dtype": "float32", "shape": [None, 1], "unit": "years"},
    }


def export_checked(model: Path, pictures: Sequence[Path], size: int, out: Path) -> dict:
    """Write the model as `out`, and keep it only if its ages on the pictures are those of the model.

    Works in a process of its own: whatever the converter does to that, the caller goes on.

    Args:
        pictures: real ones, on which the ages are compared.
        size: side of the model's input in pixels.

    Returns:
        `file` (the name; None where there is none), `largest_difference` and `bound` in years, `images`, and `problem`:
        why there is none, for a person.
    """
    pixels = np.stack([load_rgb(path, size) for path in pictures]).astype("float32")
    found = {"file": None, "largest_difference": None, "bound": BOUND, "images": len(pixels), "problem": ""}
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            ours, theirs = process.submit(convert, model, pixels, out).result()
        found["largest_difference"] = round(float(np.abs(ours - theirs).max()), 5)
        if not found["largest_difference"] <= BOUND:
            raise AgeTasksError(
                f"its ages differ by up to {found['largest_difference']:.3f} years from the model's on {len(pixels)} "
                f"test pictures; at most {BOUND:g} are allowed"
            )
    except Exception as error:  # a champion without this file is of more use than none
        out.unlink(missing_ok=True)
        found["problem"] = str(error) or type(error).__name__
        log.warning("no %s is published: %s", out.name, found["problem"])
        return found
    return found | {"file": out.name}


def convert(model: Path, pixels: np.ndarray, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the model as LiteRT, of built-in operations alone.

    Args:
        pixels: float32 of shape (pictures, size, size, 3), RGB, values 0–255.

    Returns:
        The ages of the pictures by the model and by the file that was written, in years, each of shape (pictures,).
    """
    import tensorflow as tf

    from age_tasks.training.network import load_saved

    network = load_saved(model)
    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    network.export(out, format="litert", verbose=False, target_spec=builtin)
    return network.predict(pixels, verbose=0).ravel(), ages(out, pixels)


def ages(file: Path, pixels: np.ndarray) -> np.ndarray:
    """What an exported model says of pictures, one by one, as small devices do; in years, shape (pictures,)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    (given,), (asked,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = np.empty(len(pixels))
    for at, picture in enumerate(pixels):
        interpreter.set_tensor(given["index"], picture[None])
        interpreter.invoke()
        found[at] = interpreter.get_tensor(asked["index"]).item()
    return found
