"""Export to LiteRT (TFLite), which phones and small servers run without TensorFlow; kept if its ages are the same."""

import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from age_tasks.data.decoding import load_accepted

log = logging.getLogger(__name__)

BOUND = 0.05  # years; other kernels round differently, by some thousandths
COMPARED = 64  # images; enough to detect a wrong conversion
BATCH = 32
FORKS = sys.platform == "linux"


def model_signature(size: int) -> dict[str, Any]:
    """The model's `input` and `output`, for its manifest.

    Args:
        size: side of the images in pixels.
    """
    return {
        "input": {"dtype": "float32", "shape": [None, size, size, 3], "channels": "RGB", "values": [0, 255]},
        "output": {"dtype": "float32", "shape": [None, 1], "unit": "years"},
    }


def export_checked(model: Path, images: Sequence[Path], size: int, out: Path) -> dict[str, Any]:
    """Export the model to `out`, and keep the file only if its ages equal those of the model.

    Works in a child process: a crash of the converter does not end the caller.

    Args:
        model: a saved Keras model, from pixels to years.
        images: real ones, on which the ages are compared.
        size: side of the model's input in pixels.
        out: the file to write.

    Returns:
        `file` (the name; None if the export was rejected), `largest_difference` and `bound` in years, `images` (their
        number), and `problem`: why the export was rejected, for a person.
    """
    pixels = np.stack([load_accepted(path, size) for path in images]).astype("float32")
    result: dict[str, Any] = {"file": None, "largest_difference": None, "bound": BOUND, "images": len(pixels)}
    try:
        with ProcessPoolExecutor(1, get_context(_start_method())) as process:
            keras_ages, litert_ages = process.submit(convert, model, pixels, out).result()
        difference = float(np.abs(keras_ages - litert_ages).max())
        result["largest_difference"] = round(difference, 5)
        if not difference <= BOUND:  # NaN is rejected too
            raise ValueError(
                f"its ages differ by up to {difference:.3f} years from the model's on {len(pixels)} test images; "
                f"at most {BOUND:g} are allowed"
            )
    except Exception as error:  # the model is published without this file
        out.unlink(missing_ok=True)
        problem = str(error) or type(error).__name__
        log.warning("%s is not published: %s", out.name, problem)
        return result | {"problem": problem}
    return result | {"file": out.name, "problem": ""}


def convert(model: Path, pixels: np.ndarray, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Export the model to LiteRT, using built-in operations only.

    Args:
        model: a saved Keras model, from pixels to years.
        pixels: float32 of shape (images, size, size, 3), RGB, values 0–255.
        out: the file to write.

    Returns:
        The ages of the images by the model and by the exported file, in years, each of shape (images,).

    Raises:
        WeightsError: the model can't be loaded.
    """
    import tensorflow as tf

    from age_tasks.training.network import load_saved

    network = load_saved(model)
    spec = tf.TensorSpec(network.input_shape, "float32", network.inputs[0].name)
    ages = tf.function(lambda images: network(images, training=False), input_signature=[spec])
    holder = tf.Module()
    holder.held = [variable.value for variable in network.variables]
    # Not `network.export`: it traces the network seven times and writes its weights twice, for the same file.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([ages.get_concrete_function()], holder)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    out.write_bytes(converter.convert())
    batches = np.split(pixels, range(BATCH, len(pixels), BATCH))
    return np.concatenate([ages(batch).numpy().ravel() for batch in batches]), litert_predict(out, pixels)


def _start_method() -> str:
    """How to start a child process that uses TensorFlow: a fork, which is quick, where it is imported and still unused.

    Once TensorFlow has computed, it has threads, which a fork would lack.
    """
    imported = sys.modules.get("tensorflow.python.eager.context")
    return "fork" if FORKS and imported and imported.context_safe() is None else "spawn"


def litert_predict(file: Path, pixels: np.ndarray) -> np.ndarray:
    """Ages by an exported file, image by image as on small devices; in years, float64 of shape (images,).

    Args:
        file: a `.tflite` file.
        pixels: as for `convert`.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    ages = np.empty(len(pixels))
    for at, image in enumerate(pixels):
        interpreter.set_tensor(inputs["index"], image[None])
        interpreter.invoke()
        ages[at] = interpreter.get_tensor(outputs["index"]).item()
    return ages
