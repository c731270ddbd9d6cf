"""Where images to predict are found: local files are in test_predict, those on S3 here, on a real server."""

import tarfile
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.data.probes import probe_images
from age_tasks.errors import LabelsError
from age_tasks.serving.found_images import find_images, images_below
from age_tasks.store import open_store
from tests.support.tars import tar_of


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


@pytest.fixture(params=["local", "s3"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address of two tar files, with images, what WebDataset has beside them, a link, and a name that both have."""
    folder = str(tmp_path / "shards")
    if request.param == "s3":
        request.getfixturevalue("s3")
        folder = f"s3://age/{tmp_path.name}"

    def link(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("link.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(info)

    store = open_store(folder)
    store.put("0.tar", tar_of({"a.jpg": b"a", "a.json": b"{}", ".hidden.jpg": b"h", "both.jpg": b"0"}, before=link))
    store.put("1.tar", tar_of({"sub/b.jpg": b"b", "both.jpg": b"1"}))
    return f"{folder}/*.tar"


def test_images_in_tar_files_are_found_and_read(shards: str, tmp_path: Path):
    found, folder = find_images([shards], tmp_path / "cache"), shards.removesuffix("/*.tar")
    shown = [f"{folder}/0.tar/a.jpg", f"{shards}/both.jpg", f"{shards}/link.jpg", f"{folder}/1.tar/sub/b.jpg"]
    assert [image.shown for image in found] == shown
    assert [found[at].file().read_bytes() for at in (0, 3)] == [b"a", b"b"]
    for image, says in {found[1]: "both have a member of this name", found[2]: "has a link of this name"}.items():
        with pytest.raises(LabelsError, match=says):
            image.file()


def test_tar_files_may_be_named_one_by_one(shards: str, tmp_path: Path):
    places = [shards.replace("*", name) for name in ("0", "1")]
    found = [image for image in find_images(places, tmp_path / "cache") if not image.shown.endswith("link.jpg")]
    assert [image.file().read_bytes() for image in found] == [b"a", b"0", b"1", b"b"]


def test_images_without_labels_may_be_in_tar_files(shards: str, tmp_path: Path):
    folder, names = images_below(shards, tmp_path / "cache")
    probes, _ = probe_images(folder, names, tmp_path / "cache")
    assert {name: probe.state for name, probe in probes.items()} == {
        "a.jpg": "unreadable", "both.jpg": "missing", "link.jpg": "missing", "sub/b.jpg": "unreadable",
    }  # fmt: skip


def test_tar_files_without_images_are_refused_in_one_line(shards: str, tmp_path: Path):
    with pytest.raises(LabelsError, match="no tar file at"):
        find_images([shards.replace("*", "none")], tmp_path / "cache")
    open_store(shards.removesuffix("/*.tar")).put("labels.tar", tar_of({"a.json": b"{}"}))
    with pytest.raises(LabelsError, match="no image in these tar files"):
        find_images([shards.replace("*", "labels")], tmp_path / "cache")


def test_what_to_score_must_be_named(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score"]) == 64
    assert "nothing to score: set AGE_SCORE_IMAGES to a folder or table of images" in capsys.readouterr().err
