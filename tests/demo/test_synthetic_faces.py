from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, UnidentifiedImageError

from age_tasks.demo.synthetic_faces import Sample, draw_face, draw_sample
from age_tasks.errors import SettingsError


def test_the_same_seed_draws_the_same_faces(tmp_path: Path):
    one, same, other = (draw_sample(tmp_path / str(i), 3, seed) for i, seed in enumerate((1, 1, 2)))
    read = [[path.read_bytes() for path in sorted(sample.images.iterdir())] for sample in (one, same, other)]
    assert read[0] == read[1] != read[2]


def test_ages_are_distributed_like_the_published_set(tmp_path: Path, sample: Sample):
    ages = pd.to_numeric(pd.read_csv(sample.labels)["real_age"][:150])
    assert ages.between(1, 100).all()
    assert np.abs(ages.quantile([0.25, 0.5, 0.75]).to_numpy() - (20, 29, 41)).max() < 2


def test_older_faces_look_older():
    """Wrinkles, spots and grey hair: the centre of an old face has more edges than a child's."""

    def edges(age: float) -> float:
        faces = [draw_face(age, np.random.default_rng(seed)).convert("L") for seed in range(12)]
        return float(
            np.mean([np.abs(np.diff(np.asarray(face, float)[60:150, 60:140], axis=0)).mean() for face in faces])
        )

    assert edges(80) > 1.15 * edges(20)


def test_the_sample_has_every_fault(sample: Sample):
    labels = pd.read_csv(sample.labels, dtype="str", keep_default_na=False).set_index("file_name")["real_age"]
    assert labels["f-text.jpg"] == "unknown"
    assert labels["f-negative.jpg"] == "-3"
    assert "../secret.jpg" in labels
    assert not (sample.images / "f-missing.jpg").exists()
    assert (sample.images / "f-empty.jpg").stat().st_size == 0
    with pytest.raises(UnidentifiedImageError):
        Image.open(sample.images / "f-page.jpg")
    with Image.open(sample.images / "g-16bit.jpg") as image:
        assert image.mode.startswith("I")
    with Image.open(sample.images / "g-cmyk.jpg") as image:
        assert image.mode == "CMYK"


def test_existing_labels_are_never_overwritten(sample: Sample):
    with pytest.raises(SettingsError, match="exists"):
        draw_sample(sample.labels.parent, 3, seed=1)
    with pytest.raises(SettingsError, match="--count 0"):
        draw_sample(sample.labels.parent / "new", 0, seed=1)
