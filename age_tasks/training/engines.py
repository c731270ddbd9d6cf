"""The engines that compute layers without training them, and which are installed; imports none of them.

See `prefix_engine`, which uses them.
"""

import importlib.util
from functools import cache

from age_tasks.errors import SettingsError

PACKAGES = {"openvino": "openvino", "litert": "ai_edge_litert"}  # what is imported; the fastest engine first
_GET = {"openvino": "pip install 'age-retraining[openvino]'", "litert": "pip install 'age-retraining[train]'"}


@cache
def installed_engines() -> tuple[str, ...]:
    """The engines besides TensorFlow that are installed, the fastest first."""
    return tuple(name for name, package in PACKAGES.items() if importlib.util.find_spec(package))


def require_engine(name: str) -> None:
    """Check that an engine is installed.

    Args:
        name: as in the setting `compute.prefix_engine`.

    Raises:
        SettingsError: it is not.
    """
    if name in PACKAGES and name not in installed_engines():
        raise SettingsError(
            f"compute.prefix_engine = {name}: it is not installed here; install it ({_GET[name]}), or set "
            "compute.prefix_engine=auto"
        )
