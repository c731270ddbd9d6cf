"""Tables as stages pass them on: made up, or of a sample."""

import numpy as np
import pandas as pd

from age_tasks.demo.synthetic_faces import Sample
from age_tasks.store.base import file_sha256


def faces(numbers: list[int], ages: dict[int, float]) -> pd.DataFrame:
    """Numbered images; `number % 1000` is the person, so that 7 and 1007 are near duplicates."""
    rows = [(f"{n}.jpg", ages.get(n, 1 + n * 37 % 90), f"{n:08d}", hash_of(n)) for n in numbers]
    return pd.DataFrame(rows, columns=["file_name", "real_age", "sha256", "dhash"]).astype({"real_age": "float64"})


def hash_of(number: int) -> str:
    """256 random bits of the person; the copies 1000 + n, 2000 + n, ... change 5 of them each."""
    bits = np.random.default_rng(number % 1000).integers(0, 2, 256).astype(np.uint8)
    bits[5 * (number // 1000) : 5 * (number // 1000) + 5] ^= number >= 1000
    return np.packbits(bits).tobytes().hex()


def images_of(sample: Sample) -> pd.DataFrame:
    """The labels of a sample with the sha256 of each image, as the image itself: augmentation 0."""
    labels = pd.read_csv(sample.labels)
    sha256s = [file_sha256(sample.images / name) for name in labels["file_name"]]
    return labels.assign(sha256=sha256s, augmentation=0)
