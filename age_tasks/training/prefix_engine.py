"""Outputs of layers that are not trained, by the fastest engine here that gives TensorFlow's numbers.

OpenVINO and LiteRT (XNNPACK) compute a network of float32 on CPUs sooner than TensorFlow. Each network is compared with
TensorFlow on the first images that it gets, so that features from any engine can stand in one cache.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from age_tasks.config import ComputeSettings
from age_tasks.errors import SettingsError
from age_tasks.training.engines import installed_engines, require_engine
from age_tasks.training.hardware import cores, gpus, use_xla

log = logging.getLogger(__name__)

# From batches of inputs to the outputs of the network for each of them; all float32 of shape (batch, ...).
Forward = Callable[[Sequence[np.ndarray]], list[Sequence[np.ndarray]]]

ROWS = 64  # inputs in a call that keep each engine busy
GPU_BATCH = ROWS
CPU_BATCH = 8  # its intermediate results stay in the processor's cache: 15 ms an image, against 21 in batches of 32
STREAM_BATCH = 2  # of OpenVINO, where each core computes batches of its own
MOST_STREAMS = ROWS // STREAM_BATCH
FEW = 256  # inputs; they take less time than the conversion of a network, up to seconds, would save
COMPARED = 2  # inputs that are also computed by TensorFlow
BOUND = 2.0**-11  # of the largest value: what rounding to float16 changes


class FrozenNetwork:
    """A network with the weights that it has now; give it `ROWS` inputs at a time.

    Args:
        network: with one input.
        settings: which engine computes it, and whether TensorFlow compiles with XLA.
        count: of the inputs that are to be computed, about.

    Raises:
        SettingsError: the engine that the settings name is not installed, or can't compute this network.
    """

    def __init__(self, network: keras.Model, settings: ComputeSettings, count: int) -> None:
        self.engine = _engine(settings.prefix_engine, count)
        self._network, self._settings = keras.Model(network.inputs, network.outputs, name=network.name), settings
        self._forward: Forward | None = None
        self._batch = 0  # of the engine

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs of the network, each float32 of shape (inputs, ...).

        Args:
            inputs: float32 of shape (inputs, ...), any number of them.

        Raises:
            SettingsError: the engine that the settings name gives other numbers than TensorFlow.
        """
        if self._forward is None:
            self._forward = self._converted(inputs[:COMPARED])
        batches = self._batches(inputs)
        outputs = self._forward(batches)
        return [np.concatenate(parts)[: len(inputs)] for parts in zip(*outputs, strict=True)]

    def _batches(self, inputs: np.ndarray) -> list[np.ndarray]:
        """The inputs in batches of one size, since one shape is compiled; the last one is filled up."""
        missing = -len(inputs) % self._batch
        filled = np.pad(inputs, [(0, missing), *[(0, 0)] * (inputs.ndim - 1)]) if missing else inputs
        return np.split(filled, len(filled) // self._batch)

    def _converted(self, few: np.ndarray) -> Forward:
        """The engine's forward pass, or TensorFlow's if the engine is of no use for this network."""
        if self.engine != "tensorflow":
            forward, problem = self._checked(few)
            if not problem:
                log.info("the frozen layers are computed by %s", self.engine)
                return forward
            if self._settings.prefix_engine != "auto":
                raise SettingsError(
                    f"compute.prefix_engine = {self.engine}: it can't compute {self._network.name} ({problem}); "
                    "set compute.prefix_engine=auto, which computes it by TensorFlow"
                )
            log.warning("the frozen layers are computed by TensorFlow, not by %s: %s", self.engine, problem)
            self.engine = "tensorflow"
        self._batch = GPU_BATCH if gpus() else CPU_BATCH
        traced = _traced(self._network, self._batch, use_xla(self._settings.xla))
        return lambda batches: [[output.numpy() for output in traced(batch)] for batch in batches]

    def _checked(self, few: np.ndarray) -> tuple[Forward, str]:
        """The engine's forward pass, and the problem where it is of no use; it is compared on a few inputs."""
        try:
            self._batch, convert = CONVERTERS[self.engine]
            forward = convert(_traced(self._network, self._batch))
            (outputs,) = forward(self._batches(few))
            found = _difference(outputs, tf.nest.flatten(self._network([few], training=False)))
        except Exception as error:  # converters raise anything
            return _none, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if found <= BOUND:
            return forward, ""
        told = "differ from TensorFlow's by {:.2g} of the largest; at most {:.2g} are allowed"
        return forward, "its numbers " + told.format(found, BOUND)


def _none(_: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    """What there is of an engine that could not be made."""
    return []


def _engine(setting: str, count: int) -> str:
    require_engine(setting)
    if setting != "auto":
        return setting
    if gpus() or count < FEW:
        return "tensorflow"
    return next(iter(installed_engines()), "tensorflow")


def _traced(network: keras.Model, batch: int, xla: bool = False) -> tf.types.experimental.GenericFunction:
    """A TensorFlow function of a batch that returns a list of the outputs."""
    (inputs,) = network.inputs
    return tf.function(
        lambda batch: tf.nest.flatten(network([batch], training=False)),
        input_signature=[tf.TensorSpec((batch, *inputs.shape[1:]))],
        jit_compile=xla,
    )


def _openvino(traced: tf.types.experimental.GenericFunction) -> Forward:
    """Read from a frozen graph: `openvino.convert_model` does the same, but reports each use to its maker."""
    import openvino
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "network.pb"
        graph.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        model = core.read_model(graph)
        places = {name: place for place, port in enumerate(model.outputs) for name in port.names}
        order = [places[output.name] for output in frozen.outputs]
        queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", _openvino_options()), _streams())

    def forward(batches: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
        outputs: list[Sequence[np.ndarray]] = [()] * len(batches)

        def keep(request: Any, place: int) -> None:
            outputs[place] = [request.get_output_tensor(each).data.copy() for each in order]

        queue.set_callback(keep)
        for place, batch in enumerate(batches):
            queue.start_async({0: batch}, place, share_inputs=True)
        queue.wait_all()
        return outputs

    return forward


def _openvino_options() -> dict[str, Any]:
    """Of how OpenVINO computes.

    One stream a core, each with a batch of its own, needs no waiting for each other: on two cores of an AMD EPYC with
    other work beside it, 4.5 ms an image of EfficientNet-Lite0's prefix and 32 of ResNet50's, against 11 and 53 of one
    stream with two threads.
    """
    return {
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16, where the processor has it
        "NUM_STREAMS": _streams(),
        "INFERENCE_NUM_THREADS": cores(),
        "ENABLE_CPU_PINNING": False,  # images are decoded on the same cores
    }


def _streams() -> int:
    return min(cores(), MOST_STREAMS)


def _litert(traced: tf.types.experimental.GenericFunction) -> Forward:
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=cores())
    interpreter.allocate_tensors()
    (source,) = (each["index"] for each in interpreter.get_input_details())
    places = [each["index"] for each in interpreter.get_output_details()]

    def outputs(batch: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(place) for place in places]

    return lambda batches: list(map(outputs, batches))


CONVERTERS = {"openvino": (STREAM_BATCH, _openvino), "litert": (CPU_BATCH, _litert)}  # with the size of a batch


def _difference(outputs: Sequence[np.ndarray], expected: Sequence[Any]) -> float:
    """The largest difference of any output, as a fraction of the largest value of that output; NaN if there is one.

    Args:
        expected: of the first inputs.
    """
    found = [0.0]
    for output, value in zip(outputs, map(np.asarray, expected), strict=True):
        off = np.abs(output[: len(value)] - value).max()
        found.append(float(off / max(np.abs(value).max(), np.finfo("float32").tiny)))
    return float(np.max(found))
