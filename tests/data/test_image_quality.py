"""What is measured of images, and the slices that follow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from age_tasks.config import IMAGE_SLICES
from age_tasks.data.image_quality import image_slices, measure_quality
from age_tasks.data.probes import probe_file

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (50, 50, 3), dtype=np.uint8)).resize((200, 300))


def flat(red: int, green: int, blue: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, (red, green, blue))


@pytest.mark.parametrize(("level", "brightness"), [(0, 0.0), (51, 0.2), (255, 1.0)])
def test_brightness_is_from_black_to_white(level: int, brightness: float):
    assert measure_quality(flat(level, level, level)).brightness == brightness


def test_blur_lowers_sharpness():
    blurred = [measure_quality(NOISE.filter(ImageFilter.GaussianBlur(blur))).sharpness for blur in (0, 1, 3, 8)]
    assert blurred == sorted(blurred, reverse=True)
    assert blurred[0] > 10 * blurred[-1]


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (flat(90, 90, 90), "greyscale"),
        (flat(90, 92, 91), "greyscale"),
        (flat(120, 90, 60), "colour"),
        (NOISE, "colour"),
        (NOISE.convert("L").convert("RGB"), "greyscale"),
    ],
)
def test_an_image_is_greyscale_if_its_channels_hardly_differ(image: Image.Image, colour: str):
    assert measure_quality(image).colour == colour


def test_a_greyscale_image_that_was_saved_as_a_colour_jpeg_is_greyscale(tmp_path: Path):
    NOISE.convert("L").convert("RGB").save(tmp_path / "a.jpg", quality=60)
    probe = probe_file(tmp_path / "a.jpg")
    assert (probe.state, probe.colour) == ("ok", "greyscale")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**31))
def test_any_image_is_measured_the_same_way_each_time(width: int, height: int, seed: int):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = measure_quality(Image.fromarray(pixels))
    assert 0 <= found.brightness <= 1
    assert found.sharpness >= 0
    assert measure_quality(Image.fromarray(pixels)) == found


def test_slices_are_texts_and_the_size_is_that_of_the_smaller_side():
    accepted = pd.DataFrame(
        {"width": [200, 90], "height": [300, 80], "brightness": [0.3, 0.5], "sharpness": [9.0, 8.5], "colour": "colour"}
    )
    found = image_slices(accepted)
    assert found.columns.tolist() == [f"slice:{name}" for name in IMAGE_SLICES]
    assert found.iloc[0].tolist() == ["0.3", "9.0", "200", "colour"]
    assert found.iloc[1].tolist() == ["0.5", "8.5", "80", "colour"]


def test_a_table_of_version_0_1_can_be_sliced_by_size_only():
    assert image_slices(pd.DataFrame({"width": [200], "height": [90]})).to_dict("list") == {"slice:image size": ["90"]}
