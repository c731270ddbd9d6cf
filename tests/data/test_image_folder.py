import logging
import os
import re
import shutil
import unicodedata
from pathlib import Path

import pytest

from age_tasks.data.image_folder import ImageFolder, name_problem, normal_name, require_unchanged
from age_tasks.data.probes import probe_images
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import LabelsError
from age_tasks.serving.found_images import find_images
from age_tasks.store import open_store
from age_tasks.store.base import file_sha256
from age_tasks.store.s3 import S3Store


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a\\x.jpg", "C:x.jpg", "a\n.jpg", ""])
def test_invalid_file_names_have_a_problem(name: str):
    assert name_problem(name)


def test_names_in_sub_folders_are_valid():
    assert not name_problem("2026/a face.jpg")


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(LabelsError, match="nowhere"):
        ImageFolder(str(tmp_path / "nowhere"), tmp_path)


def test_images_on_s3_are_fetched_once(
    s3: dict[str, str], sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    open_store("s3://age/faces").put("00000.jpg", sample.images / "00000.jpg")
    fetched = []
    fetch = S3Store.fetch
    monkeypatch.setattr(S3Store, "fetch", lambda self, key, to: fetched.append(key) or fetch(self, key, to))
    for _ in range(2):
        folder = ImageFolder("s3://age/faces", tmp_path)
        assert folder.path("00000.jpg").read_bytes() == (sample.images / "00000.jpg").read_bytes()
    assert fetched == ["00000.jpg"]
    assert folder.stamp("gone.jpg") is None


def test_replaced_images_are_counted_and_the_first_is_named(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    folder = ImageFolder(str(tmp_path), tmp_path)
    sha256s = {name: file_sha256(tmp_path / name) for name in ("a", "b", "c")}
    require_unchanged(folder, sha256s)
    for name in ("b", "c"):
        (tmp_path / name).write_text("replaced")
    with pytest.raises(LabelsError, match=r"^b and 1 more were replaced in .* run snapshot again"):
        require_unchanged(folder, sha256s)


@pytest.mark.parametrize(
    "name",
    [
        "Screenshot 2024-05-01 at 3.14.15\u202fPM.png",
        "\u5199\u771f\u3000\u4e00.jpg",
        "a\xa0b.jpg",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.jpg",
        "WhatsApp Image \u200f2024.jpg",
        "soft\xadhyphen.jpg",
        "family \U0001f468\u200d\U0001f469\u200d\U0001f467.jpg",
        "flag \U0001f3f4\U000e0067\U000e0062.jpg",
        "private \uf8ff\uf022.jpg",
        "newer emoji \U0001fae9.jpg",
        "2024-05-01T15:14:15.jpg",
        "faces/12:30.jpg",
    ],
)
def test_names_of_other_systems_and_languages_are_valid(name: str):
    assert not name_problem(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a\x00.jpg", r"control characters \(U\+0000\); rename"),
        ("a\x85.jpg", r"U\+0085"),
        ("a\x1b[2J.jpg", r"U\+001B"),
        ("a\u202egpj.exe", r"U\+202E"),
        ("a\u2028.jpg", r"U\+2028"),
        ("sub\\x.jpg", "has a backslash; write sub/x.jpg, with / between folders"),
        ("..\\x.jpg", "leaves the images folder by '..'"),
        ("\\\\server\\share\\x.jpg", "absolute path"),
        ("C:\\faces\\x.jpg", "drive of Windows"),
        ("https://example.org/x.jpg", "leaves the images folder: it is an address"),
        ("/data/x.jpg", "it is an absolute path; write the path below"),
        ("a/../b.jpg", "has '..'; write b.jpg"),
        ("..", "leaves the images folder by '..'"),
    ],
)
def test_a_refused_name_has_the_true_reason_and_how_to_write_it(name: str, says: str):
    assert re.search(says, name_problem(name))


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("./a.jpg", "a.jpg"),
        ("a//b.jpg", "a/b.jpg"),
        ("s/./c.jpg", "s/c.jpg"),
        ("././a/.//b/", "a/b"),
        (".", "."),
        ("./", "."),
        ("//x/a.jpg", "/x/a.jpg"),
        ("a./b.jpg", "a./b.jpg"),
        (".hidden/.a", ".hidden/.a"),
        ("", ""),
        (" \t", ""),
        ("./ a.jpg", "a.jpg"),
        (" ./ ./ b.jpg /", "b.jpg"),
        ("./ /.", "."),
        ("a/ /b.jpg", "a/ /b.jpg"),
        ("/ /a.jpg/", "/ /a.jpg"),
        ("a b.jpg", "a b.jpg"),
        ("../a.jpg", "../a.jpg"),
        ("https://x//y.jpg", "https://x//y.jpg"),
    ],
)
def test_each_file_has_one_normal_name(name: str, normal: str):
    assert normal_name(name) == normal_name(normal) == normal


ODD_KEYS = ("new//b.jpg", "x/.tmp-abc.jpg", ".tmp-x.jpg", "./c.jpg", "a\\b.jpg")


@pytest.fixture
def odd_bucket(s3: dict[str, str], sample: Sample, tmp_path: Path) -> str:
    """The address of an image in a bucket, with objects beside it that no image can have the names of."""
    import boto3

    address, image = f"age/{tmp_path.name}", (sample.images / "00000.jpg").read_bytes()
    bucket, _, prefix = address.partition("/")
    for key in ("a.jpg", *ODD_KEYS):
        boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=image)
    return f"s3://{address}"


def test_objects_whose_names_cannot_be_used_are_left_out_with_a_warning(
    odd_bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        folder = ImageFolder(odd_bucket, tmp_path / "cache")
    assert folder.names() == ["a.jpg"]
    (message,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert message.startswith(f"{odd_bucket}: {len(ODD_KEYS)} objects are left out, such as ")
    assert [image.name for image in find_images([odd_bucket], tmp_path / "cache")] == ["a.jpg"]


def test_a_label_that_names_an_object_that_cannot_be_used_is_one_row_with_a_reason(odd_bucket: str, tmp_path: Path):
    folder = ImageFolder(odd_bucket, tmp_path / "cache")
    probes, _ = probe_images(folder, ["a.jpg", ".tmp-x.jpg", "x/.tmp-abc.jpg"], tmp_path / "cache")
    assert [probe.state for probe in probes.values()].count("missing") == 2
    assert probes["a.jpg"].state == "ok"
    assert probes["x/.tmp-abc.jpg"].problem.endswith("begins with .tmp-; rename the object")
    with pytest.raises(LabelsError):
        folder.path(".tmp-x.jpg")


def test_a_local_file_may_have_such_a_name(tmp_path: Path, sample: Sample):
    shutil.copy(sample.images / "00000.jpg", tmp_path / ".tmp-x.jpg")
    probes, _ = probe_images(ImageFolder(str(tmp_path), tmp_path), [".tmp-x.jpg"], tmp_path / "cache")
    assert probes[".tmp-x.jpg"].state == "ok"


COMPOSED, DECOMPOSED = "andr\xe9/\xe9.jpg", "andre\u0301/e\u0301.jpg"


@pytest.fixture(params=["local", "s3"])
def folder_of(request: pytest.FixtureRequest, tmp_path: Path):
    """Makes an images folder, local or in a bucket, that has files of these names."""

    def make(*names: str) -> ImageFolder:
        location = str(tmp_path / "images")
        if request.param == "s3":
            request.getfixturevalue("s3")
            location = f"s3://age/{tmp_path.name}/images"
        for name in names:
            open_store(location).put(name, name.encode())
        return ImageFolder(location, tmp_path / "cache")

    return make


@pytest.mark.parametrize(("labelled", "stored"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_name_is_found_in_another_form_of_its_characters(labelled: str, stored: str, folder_of):
    folder = folder_of(stored, "\u3000x.jpg")
    names = folder.real_names([labelled, "y\xe9.jpg", "\u3000x.jpg", "\u3000x.jpg\xa0"])
    assert names == {labelled: stored, "y\xe9.jpg": "y\xe9.jpg", "\u3000x.jpg": "\u3000x.jpg"} | {
        "\u3000x.jpg\xa0": "\u3000x.jpg"
    }
    assert folder.path(names[labelled]).read_bytes() == stored.encode()


def test_a_file_of_exactly_this_name_comes_first(folder_of):
    folder = folder_of(COMPOSED, DECOMPOSED)
    assert folder.real_names([COMPOSED, DECOMPOSED]) == {COMPOSED: COMPOSED, DECOMPOSED: DECOMPOSED}


def test_each_folder_is_listed_once_for_names_in_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Such as all names, where images come from an archive of a Mac and labels from Excel."""
    names = {f"s\xe9/{number}\xe9.jpg": f"se\u0301/{number}e\u0301.jpg" for number in range(50)}
    (tmp_path / "se\u0301").mkdir()
    for stored in names.values():
        (tmp_path / stored).touch()
    absent = [f"images/{number}\xe9.jpg" for number in range(50)]
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path)) or scandir(path))
    folder = ImageFolder(str(tmp_path), tmp_path)
    assert folder.real_names([*names, *absent]) == names | dict(zip(absent, absent, strict=True))
    assert sorted(listed) == [tmp_path, tmp_path / "se\u0301"]


def test_of_several_files_whose_names_are_the_same_the_first_is_taken(tmp_path: Path):
    stored = ["e\u0301\u0323.jpg", "e\u0323\u0301.jpg"]  # two decomposed forms
    for name in stored:
        (tmp_path / name).touch()
    composed = unicodedata.normalize("NFC", stored[0])
    assert ImageFolder(str(tmp_path), tmp_path).real_names([composed]) == {composed: min(stored)}


def test_the_whole_path_of_a_file_in_the_folder_is_read(folder_of):
    folder = folder_of("sub/a.jpg")
    whole = f"{folder.location}/sub/a.jpg"
    assert folder.real_names([whole, "/etc/passwd"]) == {whole: "sub/a.jpg", "/etc/passwd": "/etc/passwd"}


def test_the_path_of_a_linked_folder_and_a_file_address_are_read(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "images").symlink_to("real")
    (tmp_path / "real" / "a b.jpg").touch()
    folder = ImageFolder(str(tmp_path / "images"), tmp_path)
    for whole in (f"{tmp_path}/real/a b.jpg", (tmp_path / "images" / "a b.jpg").as_uri()):
        assert folder.real_names([whole]) == {whole: "a b.jpg"}
    outside = f"{tmp_path}/images/../secret.jpg"
    assert name_problem(folder.real_names([outside])[outside])


@pytest.mark.parametrize(
    ("name", "stored", "cause"),
    [
        ("images/00000.jpg", ["00000.jpg"], "there is 00000.jpg: leave out images/"),
        ("data/images/a/x.jpg", ["a/x.jpg"], "there is a/x.jpg: leave out data/images/"),
        ("00000.jpg", ["faces/00000.jpg"], "there is faces/00000.jpg: write faces/ before it"),
        ("a/x.jpg", ["b/x.jpg"], "there is b/x.jpg: it is in another folder"),
        ("a.jpg", ["A.JPG"], "there is A.JPG: upper and lower case differ"),
        ("Anna/a.jpg", ["anna/a.jpg"], "there is anna/a.jpg: upper and lower case differ"),
        ("a.jpg", ["a.jpeg"], "there is a.jpeg: its extension is .jpeg"),
        ("a", ["a.png"], "there is a.png: its extension is .png"),
        ("a.png", ["a"], "there is a: it has no extension"),
        (
            "images/a.jpg",
            ["A.png"],
            "there is A.png: leave out images/, its extension is .png, upper and lower case differ",
        ),
        ("7.jpg", ["00007.jpg"], "there is 00007.jpg: leading zeros differ"),
        ("a%20b.jpg", ["a b.jpg"], "there is a b.jpg: it has no % codes"),
        ("x.jpg", ["a/x.jpg", "b/x.jpg"], r"there is a/x.jpg \(and 1 more such files\): write a/ before it"),
        ("x.jpg", ["y.jpg"], None),
        ("x.jpg", [], "it has no files"),
    ],
)
def test_a_missing_file_is_reported_with_the_folder_and_the_likely_cause(name, stored, cause, folder_of, tmp_path):
    (tmp_path / "images").mkdir()
    folder = folder_of(*stored)
    where = re.escape(f"no such file in the images folder {folder.location}")
    assert re.fullmatch(f"{where}; {cause}" if cause else where, folder.missing(name))
