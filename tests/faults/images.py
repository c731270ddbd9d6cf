"""Small images that tests of faults draw."""

import io

import numpy as np
from PIL import Image


def image_file(seed: int, size: tuple[int, int] = (40, 40), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(out, kind)
    return out.getvalue()
