import hashlib
import logging
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from age_tasks.data.decoding import MAX_BYTES
from age_tasks.data.image_folder import ImageFolder, require_unchanged
from age_tasks.data.image_shards import indexed_members, unused_indexes
from age_tasks.data.probes import probe_images
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.errors import LabelsError, StoreError
from age_tasks.store import open_store
from age_tasks.store.base import file_sha256
from tests.support.answering_server import Answer, AnsweringServer, Request, answering_s3
from tests.support.tars import tar_of

Put = Callable[..., str]
"""Puts tar files, by their names, and returns the address of all of them."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AnsweringServer]:
    with answering_s3(monkeypatch, tmp_path / "home") as server:
        yield server


@pytest.fixture(params=["local", "s3"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Put:
    folder = str(tmp_path / "shards")
    if request.param == "s3":
        request.getfixturevalue("server")
        folder = "s3://bucket/shards"

    def put_all(**tars: bytes) -> str:
        for name, data in tars.items():
            open_store(folder).put(f"{name}.tar", data)
        return f"{folder}/*.tar"

    return put_all


def images_of(sample: Sample, *names: str) -> dict[str, bytes]:
    return {name: (sample.images / name.rpartition("/")[2]).read_bytes() for name in names}


def test_images_in_tar_files_are_those_of_a_folder(put: Put, sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg", "00002.jpg"]
    for_labels = {"00000.json": b"{}", "00000.cls": b"34"}
    location = put(a=tar_of(images_of(sample, *names[:2]) | for_labels), b=tar_of(images_of(sample, f"sub/{names[2]}")))
    folder = ImageFolder(location, tmp_path / "cache")
    assert folder.names() == ["00000.cls", "00000.jpg", "00000.json", "00001.jpg", "sub/00002.jpg"]
    probes, read = probe_images(folder, [*names[:2], "sub/00002.jpg", "gone.jpg"], tmp_path / "cache")
    plain, _ = probe_images(ImageFolder(str(sample.images), tmp_path), names, tmp_path / "plain")
    assert [probes[name] for name in names[:2]] == [plain[name] for name in names[:2]]
    assert probes["sub/00002.jpg"] == plain["00002.jpg"]
    assert (read, probes["gone.jpg"].state) == (3, "missing")
    assert probes["gone.jpg"].problem.startswith(f"no such file in the images folder {location}")
    assert probe_images(ImageFolder(location, tmp_path / "cache"), names[:2], tmp_path / "cache")[1] == 0
    require_unchanged(folder, {name: probes[name].sha256 for name in names[:2]})


def gets(server: AnsweringServer) -> list[str]:
    """The objects that were asked for so far, with `#` where only a part was."""
    asked = [each for each in server.asked if each.method == "GET" and "list-type" not in each.path]
    server.asked = []
    return [each.path.rpartition("/")[2].partition("?")[0] + "#" * ("range" in each.headers) for each in asked]


def test_a_tar_file_on_s3_is_read_once(server: AnsweringServer, sample: Sample, tmp_path: Path):
    names = ["00000.jpg", "00001.jpg"]
    open_store("s3://bucket/shards").put("a.tar", tar_of(images_of(sample, *names)))
    for _ in range(2):
        probe_images(ImageFolder("s3://bucket/shards/*.tar", tmp_path), names, tmp_path)
    assert gets(server) == ["a.tar"]
    folder = ImageFolder("s3://bucket/shards/*.tar", tmp_path)
    folder.fetch_again(names[:1])
    assert folder.path(names[0]).read_bytes() == images_of(sample, names[0])[names[0]]
    assert gets(server) == ["a.tar#"]


def test_members_beyond_the_bound_of_copies_are_read_by_their_places(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGE_IMAGE_COPIES_GB", str(10_000 / 1e9))
    contents = {f"{number:02d}.jpg": bytes([number]) * 1_000 for number in range(30)}
    folder = ImageFolder(put(a=tar_of(contents)), tmp_path / "cache")
    copies = [path for path in (tmp_path / "cache" / "images").rglob("*") if path.is_file()]
    assert 0 < len(copies) <= 10
    assert {name: folder.path(name).read_bytes() for name in contents} == contents


def test_only_files_that_fit_the_pattern_are_read(put: Put, tmp_path: Path):
    location = put(train_0=tar_of({"a": b"1"}), train_1=tar_of({"b": b"2"}), test_0=b"no tar file")
    folder = ImageFolder(location.replace("*", "train_?"), tmp_path / "cache")
    assert folder.names() == ["a", "b"]


def test_a_folder_whose_name_ends_in_tar_is_a_folder(tmp_path: Path):
    (tmp_path / "faces.tar").mkdir()
    (tmp_path / "faces.tar" / "a.jpg").touch()
    assert ImageFolder(str(tmp_path / "faces.tar"), tmp_path / "cache").names() == ["a.jpg"]


def test_another_tar_file_of_the_same_name_is_read_anew(put: Put, tmp_path: Path):
    location, cache = put(a=tar_of({"a.jpg": b"first"})), tmp_path / "cache"
    before = ImageFolder(location, cache)
    put(a=tar_of({"0.jpg": b"0", "a.jpg": b"other"}))
    after = ImageFolder(location, cache)
    assert before.stamp("a.jpg") != after.stamp("a.jpg")
    assert after.path("a.jpg").read_bytes() == b"other"
    before.fetch_again(["a.jpg"])
    with pytest.raises(StoreError, match=r"replaced while it was read.*run it again"):
        before.path("a.jpg")


def odd(tar: tarfile.TarFile) -> None:
    for name, kind in (("link.jpg", tarfile.SYMTYPE), ("device.jpg", tarfile.CHRTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("link.jpg", "a.tar has a link of this name; put the file itself"),
        ("device.jpg", "a.tar has a device or pipe of this name"),
        ("both.jpg", "b.tar and .*a.tar both have a member of this name; rename one"),
    ],
)
def test_a_member_that_is_no_one_file_is_one_row_with_a_reason(put: Put, tmp_path: Path, name: str, says: str):
    location = put(a=tar_of({"both.jpg": b"1", "a.jpg": b"2"}, before=odd), b=tar_of({"both.jpg": b"3"}))
    folder = ImageFolder(location, tmp_path / "cache")
    probes, _ = probe_images(folder, [name, "a.jpg"], tmp_path / "cache")
    assert probes[name].state == "missing"
    assert re.search(says, probes[name].problem)
    with pytest.raises(LabelsError, match=re.escape(name)):
        folder.path(name)


def test_a_name_that_stands_twice_in_one_tar_file_is_refused(put: Put, tmp_path: Path):
    data = tar_of({"a.jpg": b"1"})[:1024]
    folder = ImageFolder(put(a=data + tar_of({"a.jpg": b"2"})), tmp_path / "cache")
    probes, _ = probe_images(folder, ["a.jpg"], tmp_path / "cache")
    assert "a.tar has several members of this name; leave one" in probes["a.jpg"].problem


@pytest.mark.parametrize("name", ["../out.jpg", "/etc/out.jpg", "a/../../out.jpg", "a\n.jpg", "\udcff.jpg"])
def test_a_name_that_is_no_name_in_the_folder_is_left_out(
    put: Put, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    location, cache = put(a=tar_of({name: b"1", "a.jpg": b"2"})), tmp_path / "cache"
    with caplog.at_level(logging.WARNING):
        folder = ImageFolder(location, cache)
    assert folder.names() == ["a.jpg"]
    (message,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert re.search(r"\*\.tar: 1 members are left out, such as '.+': the file name", message)
    assert message.isprintable()
    with pytest.raises(LabelsError):
        folder.path(name)
    assert not list(tmp_path.glob("**/out.jpg"))
    probes, _ = probe_images(folder, [name], cache)
    assert probes[name].state == "missing"


def test_the_name_of_an_unfinished_tar_file_in_a_bucket_is_left_out(s3: dict[str, str], tmp_path: Path):
    """As in a local folder."""
    import boto3

    for name in ("a.tar", ".tmp-a.tar"):
        key, content = f"{tmp_path.name}/{name}", tar_of({"a.jpg": name.encode()})
        boto3.client("s3").put_object(Bucket="age", Key=key, Body=content)
    folder = ImageFolder(f"s3://age/{tmp_path.name}/*.tar", tmp_path / "cache")
    assert folder.path("a.jpg").read_bytes() == b"a.tar"


def test_a_huge_member_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("age_tasks.data.image_shards.MAX_BYTES", 100)
    monkeypatch.setattr("age_tasks.data.image_folder.MAX_BYTES", 100)
    monkeypatch.setattr("age_tasks.data.probes.MAX_BYTES", 100)
    (tmp_path / "a.tar").write_bytes(tar_of({"huge.jpg": b"x" * 101}))
    probes, _ = probe_images(ImageFolder(f"{tmp_path}/*.tar", tmp_path / "cache"), ["huge.jpg"], tmp_path / "cache")
    assert (probes["huge.jpg"].state, probes["huge.jpg"].bytes) == ("unreadable", 101)
    assert not list((tmp_path / "cache" / "images").glob("*/*"))
    assert MAX_BYTES == 100_000_000


def test_a_tar_file_that_is_cut_off_is_one_line(put: Put, tmp_path: Path):
    whole = tar_of({"a.jpg": b"1" * 5_000})
    location = put(a=whole, b=whole[:3_000].replace(b"a.jpg", b"b.jpg"))
    with pytest.raises(LabelsError, match=r"/b\.tar is no whole tar file: .*; write it anew with `tar -cf`") as raised:
        ImageFolder(location, tmp_path / "cache")
    assert str(raised.value).isprintable()


def test_no_tar_file_is_an_error_that_names_the_pattern(put: Put, tmp_path: Path):
    location = put(a=b"").replace("*", "x*")
    with pytest.raises(
        LabelsError, match=r"no tar file at .*/x\*\.tar; name the files that hold the images \(AGE_IMAGES\)"
    ):
        ImageFolder(location, tmp_path / "cache")


def once(server: AnsweringServer, change: Callable[[Answer], Answer]) -> None:
    """The first tar file that is asked for comes changed."""
    left = ["once"]

    def plan(request: Request) -> Answer | None:
        if left and request.method == "GET" and "a.tar" in request.path:
            left.pop()
            server.plan = lambda request: None
            return change(server.answer(request))
        return None

    server.plan = plan


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda answer: answer._replace(cut=4_000), id="cut off"),
        pytest.param(lambda answer: answer._replace(body=answer.body.replace(b"2222", b"3333")), id="corrupted"),
        pytest.param(lambda answer: answer._replace(body=answer.body.replace(b"b.jpg", b"c.jpg")), id="no tar file"),
    ],
)
def test_what_changed_on_the_way_is_read_again(
    server: AnsweringServer, tmp_path: Path, change: Callable[[Answer], Answer]
):
    contents = {"a.jpg": b"1" * 5_000, "b.jpg": b"2" * 5_000}
    open_store("s3://bucket/shards").put("a.tar", tar_of(contents))
    once(server, change)
    folder = ImageFolder("s3://bucket/shards/*.tar", tmp_path)
    assert {name: folder.path(name).read_bytes() for name in folder.names()} == contents
    assert gets(server)[-2:] == ["a.tar", "a.tar"]


def test_a_part_that_changed_on_the_way_is_read_again(server: AnsweringServer, tmp_path: Path):
    open_store("s3://bucket/shards").put("a.tar", tar_of({"a.jpg": b"1" * 5_000}))
    folder = ImageFolder("s3://bucket/shards/*.tar", tmp_path)
    folder.fetch_again(["a.jpg"])
    gets(server)
    once(server, lambda answer: answer._replace(body=b"2" * 5_000))
    assert folder.path("a.jpg").read_bytes() == b"1" * 5_000
    assert set(gets(server)) == {"a.tar#"}


@pytest.mark.parametrize(("knows_parts", "reads"), [(True, 1), (False, 2)])
def test_of_a_multipart_upload_the_parts_are_checked_or_two_reads_agree(
    server: AnsweringServer, tmp_path: Path, knows_parts: bool, reads: int
):
    data, part = tar_of({"a.jpg": b"1" * 50_000}), 20_000
    digests = [hashlib.md5(data[at : at + part]).digest() for at in range(0, len(data), part)]
    etag = f'"{hashlib.md5(b"".join(digests)).hexdigest()}-{len(digests)}"'
    headers = {"x-amz-request-id": "1", "ETag": etag}
    open_store("s3://bucket/shards").put("a.tar", data)

    def plan(request: Request) -> Answer | None:
        if "a.tar" not in request.path:
            return None
        if request.method == "HEAD":
            return Answer(206, headers, data[:part]) if knows_parts else Answer(501, headers)
        return Answer(200, headers, data)

    server.plan = plan
    assert ImageFolder("s3://bucket/shards/*.tar", tmp_path).path("a.jpg").read_bytes() == b"1" * 50_000
    assert gets(server) == ["a.tar"] * reads


def test_a_full_disk_is_no_fault_of_the_bucket(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    location = put(a=tar_of({"a.jpg": b"1"}))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("age_tasks.data.image_copies.ImageCopies.put", fail)
    with pytest.raises(OSError, match="No space left"):
        ImageFolder(location, tmp_path / "cache")


def test_a_damaged_index_is_made_anew(put: Put, tmp_path: Path):
    location, cache = put(a=tar_of({"a.jpg": b"1"})), tmp_path / "cache"
    ImageFolder(location, cache)
    ((path, (place,)),) = indexed_members(cache)
    assert place.name == "a.jpg"
    path.write_bytes(path.read_bytes()[:-5])
    assert ImageFolder(location, cache).names() == ["a.jpg"]
    assert unused_indexes(cache, -1).keys() == {path}
    assert not unused_indexes(cache, 60)


def test_the_sha256_in_the_snapshot_is_that_of_the_member(put: Put, sample: Sample, tmp_path: Path):
    folder = ImageFolder(put(a=tar_of(images_of(sample, "00000.jpg"))), tmp_path / "cache")
    with pytest.raises(LabelsError, match=r"00000\.jpg was replaced in .*\*\.tar after the snapshot"):
        require_unchanged(folder, {"00000.jpg": "0" * 64})
    require_unchanged(folder, {"00000.jpg": file_sha256(sample.images / "00000.jpg")})
