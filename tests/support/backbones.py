"""Parameters of tests that hold for every backbone; one of each family is tried by default."""

from collections.abc import Collection

import pytest

from age_tasks.backbones import BACKBONES


def each_backbone(usually: Collection[str], packaged: bool = True) -> list[object]:
    """The names of all backbones, as parameters.

    Args:
        usually: those whose tests run without `-m backbones` too.
        packaged: whether with those whose weights come in a Python package, and not from Keras.
    """
    return [
        pytest.param(name, marks=() if name in usually else pytest.mark.backbones)
        for name, backbone in BACKBONES.items()
        if packaged or backbone.constructor
    ]
