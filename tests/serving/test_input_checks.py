from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from age_tasks.data.decoding import load_rgb
from age_tasks.serving.input_checks import training_floor, warnings_for


def image_file(folder: Path, name: str, size: tuple[int, int] = (200, 200), blur: float = 0) -> Path:
    pixels = np.random.default_rng(1).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).filter(ImageFilter.GaussianBlur(blur))
    image.save(folder / name)
    return folder / name


def test_images_below_the_training_images_are_warned_of(tmp_path: Path):
    floor = training_floor([image_file(tmp_path, f"{n}.png", (200 + n, 300)) for n in range(10)], 128)
    assert floor["side"] == 200
    for name, path, warning in (
        ("like", image_file(tmp_path, "like.png"), ""),
        (
            "small",
            image_file(tmp_path, "small.png", (90, 400)),
            "90 x 400 pixels, smaller than the training images (200",
        ),
        ("blurred", image_file(tmp_path, "blurred.png", blur=6), "blurred (sharpness"),
    ):
        found = warnings_for(path, load_rgb(path, 128), floor)
        assert found.startswith(warning), name
        assert bool(found) == bool(warning), name
