"""Where images to predict are found: local files are in test_predict, those on S3 here, on a real server."""

from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.errors import LabelsError
from age_tasks.serving.found_images import find_images
from age_tasks.store import open_store


@pytest.fixture
def bucket(s3: dict[str, str], tmp_path: Path) -> str:
    """An address with two images and a table."""
    address = f"s3://age/{tmp_path.name}/new"
    store = open_store(address)
    for name in ("b.jpg", "sub/a.jpg", ".hidden.jpg"):
        store.put(name, name.encode())
    store.put("list.csv", b"file_name;note\nsub/a.jpg;x\nB.jpg;y\n")
    return address


def test_all_images_under_an_address_are_found_and_fetched(bucket: str, tmp_path: Path):
    found = find_images([f"{bucket}/sub/"], tmp_path / "cache")
    assert [image.shown for image in found] == [f"{bucket}/sub/a.jpg"]
    assert found[0].file().read_bytes() == b"sub/a.jpg"


def test_a_table_on_s3_lists_images_beside_it(bucket: str, tmp_path: Path):
    first, second = find_images([f"{bucket}/list.csv"], tmp_path / "cache")
    assert (first.shown, first.file().read_bytes()) == (f"{bucket}/sub/a.jpg", b"sub/a.jpg")
    with pytest.raises(LabelsError, match=r"no such file in .*; there is b\.jpg: upper and lower case differ"):
        second.file()


@pytest.mark.parametrize(
    ("name", "says"), [("nothing/", "no image under this address"), ("none.csv", "no such table; check the address")]
)
def test_an_address_without_images_is_refused_in_one_line(bucket: str, name: str, says: str, tmp_path: Path):
    with pytest.raises(LabelsError, match=says):
        find_images([f"{bucket}/{name}"], tmp_path / "cache")


def test_what_to_score_must_be_named(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score"]) == 64
    assert "nothing to score: set AGE_SCORE_IMAGES to a folder or table of images" in capsys.readouterr().err
