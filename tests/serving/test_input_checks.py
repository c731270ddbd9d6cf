from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from age_tasks.data.decoding import load_rgb
from age_tasks.serving.input_checks import sharpness, unlike, usual


def picture(folder: Path, name: str, size: tuple[int, int] = (200, 200), blur: float = 0) -> Path:
    pixels = np.random.default_rng(1).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).filter(ImageFilter.GaussianBlur(blur))
    image.save(folder / name)
    return folder / name


def test_blur_lowers_sharpness(tmp_path: Path):
    values = [sharpness(load_rgb(picture(tmp_path, f"{blur}.png", blur=blur), 128)) for blur in (0, 1, 3, 8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 10 * values[-1]


def test_what_is_unlike_the_training_pictures_is_named(tmp_path: Path):
    known = usual([picture(tmp_path, f"{n}.png", (200 + n, 300)) for n in range(10)], 128)
    assert known["side"] == 200
    for name, path, said in (
        ("like", picture(tmp_path, "like.png"), ""),
        (
            "small",
            picture(tmp_path, "small.png", (90, 400)),
            "90 x 400 pixels, smaller than the training pictures (200",
        ),
        ("blurred", picture(tmp_path, "blurred.png", blur=6), "blurred (sharpness"),
    ):
        found = unlike(path, load_rgb(path, 128), known)
        assert found.startswith(said), name
        assert bool(found) == bool(said), name
