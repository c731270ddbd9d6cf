import errno
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from age_tasks.errors import NotFoundError, SettingsError, StoreError, StoreRefusedError
from age_tasks.store import open_store
from age_tasks.store import s3 as s3_store
from age_tasks.store.base import TEMPORARY, Store, check_key, to_json
from age_tasks.store.files import FileStore
from tests.support.answering_server import answering_s3


def test_objects_can_be_put_read_listed_and_deleted(store: Store, tmp_path: Path):
    store.put("runs/a/labels.csv", b"one")
    store.put("runs/b.txt", b"two")
    store.fetch("runs/a/labels.csv", tmp_path / "copy" / "labels.csv")
    assert (tmp_path / "copy" / "labels.csv").read_bytes() == store.get("runs/a/labels.csv") == b"one"
    assert store.list() == ["runs/a/labels.csv", "runs/b.txt"]
    assert store.list("runs/a/") == ["runs/a/labels.csv"]
    store.delete("runs/b.txt")
    store.delete("runs/b.txt")
    assert not store.exists("runs/b.txt")
    assert store.exists("runs/a/labels.csv")


def test_a_large_file_replaces_an_object_completely(store: Store, tmp_path: Path):
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 4096 * 9)  # 9 MiB: more than S3 takes in one part, where it is put in parts
    store.put("model.keras", b"old")
    store.put("model.keras", large)
    store.fetch("model.keras", tmp_path / "copy")
    assert store.get("model.keras") == large.read_bytes() == (tmp_path / "copy").read_bytes()


def test_an_object_larger_than_wanted_is_not_fetched(store: Store, tmp_path: Path):
    store.put("film", bytes(2_000_000))
    with pytest.raises(StoreRefusedError, match="film: 2 MB, where at most 1 MB are fetched"):
        store.fetch("film", tmp_path / "copy", 1_000_000)
    assert list(tmp_path.glob("*copy*")) == []
    store.fetch("film", tmp_path / "copy", 2_000_000)
    assert (tmp_path / "copy").stat().st_size == 2_000_000


def test_an_object_may_be_empty(store: Store):
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert [(entry.key, entry.size) for entry in store.entries()] == [("empty", 0)]


def test_listing_a_folder_omits_folders_with_the_same_prefix(store: Store):
    for key in ("runs/1/a", "runs/10/a", "runs-old/a"):
        store.put(key, b"")
    assert store.list("runs/1/") == ["runs/1/a"]
    assert store.list("runs/") == ["runs/1/a", "runs/10/a"]
    assert store.list("nothing/here/") == []


def test_listings_are_sorted_by_key(store: Store):
    keys = ["b", "a/b", "a.b", "a-b", "B", "é", "z/1", "z/10", "z/2"]
    for key in keys:
        store.put(key, b"")
    assert store.list() == sorted(keys)


def test_a_listing_can_begin_behind_a_key_and_be_short(store: Store):
    for key in ("a", "runs/1/a", "runs/2/a", "runs/2/b", "runs/3/a", "z"):
        store.put(key, b"")
    assert store.list("runs/", after="runs/2/a") == ["runs/2/b", "runs/3/a"]
    assert store.list("runs/", limit=2) == ["runs/1/a", "runs/2/a"]
    assert [entry.key for entry in store.entries("runs/", after="runs/1/z", limit=1)] == ["runs/2/a"]
    assert store.list("runs/", after="runs/9") == []
    assert store.list(after="runs/3") == ["runs/3/a", "z"]


def test_a_server_that_lists_more_than_was_asked_for_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with answering_s3(monkeypatch, tmp_path / "home") as server:  # it knows neither `start-after` nor `max-keys`
        server.objects |= {f"store/{key}": b"" for key in "abcd"}
        assert open_store("s3://age/store").list(after="a", limit=2) == ["b", "c"]


def test_keys_with_special_characters_are_kept(store: Store):
    keys = ["a b", "é", "e\u0301", "a+b&c=d", "50%25", "a?b#c", "a:b", "~", "...", "-rf", "<k>\"&'"]
    for key in keys:
        store.put(key, key.encode())
    assert {key: store.get(key) for key in store.list()} == {key: key.encode() for key in keys}


def test_a_missing_object_is_named(store: Store, tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"gone\.csv"):
        store.get("gone.csv")
    with pytest.raises(NotFoundError, match=r"gone\.csv"):
        store.fetch("gone.csv", tmp_path / "gone.csv")
    with pytest.raises(NotFoundError, match=r"gone\.csv"):
        store.entry("gone.csv")
    assert not list(tmp_path.glob("*gone*"))


def test_json_is_indented_utf8_with_a_final_newline():
    assert to_json({"é": [1, None]}) == '{\n  "é": [\n    1,\n    null\n  ]\n}\n'.encode()


def test_json_refuses_numbers_that_are_not_finite_and_text_that_is_not_unicode():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"mae": float("nan")})
    with pytest.raises(SettingsError, match=r"owner.*can't be encoded as UTF-8"):
        to_json({"owner": "\ud800"})


def test_a_folder_is_not_an_object(store: Store):
    store.put("runs/a", b"")
    assert not store.exists("runs")
    with pytest.raises(NotFoundError):
        store.get("runs")


def test_a_failed_fetch_leaves_the_local_file_unchanged(store: Store, tmp_path: Path):
    local = tmp_path / "here" / "labels.csv"
    local.parent.mkdir()
    local.write_bytes(b"old")
    with pytest.raises(NotFoundError):
        store.fetch("gone.csv", local)
    assert local.read_bytes() == b"old"
    assert list(local.parent.iterdir()) == [local]


def test_the_etag_changes_with_the_content(store: Store):
    store.put("labels.csv", b"one")
    (before,) = store.entries()
    assert [before] == list(store.entries()) == [store.entry("labels.csv")]
    store.put("labels.csv", b"other")
    (after,) = store.entries()
    assert (before.size, after.size) == (3, 5)
    assert before.etag != after.etag


def test_where_gives_a_path_or_an_s3_address(tmp_path: Path):
    assert open_store(str(tmp_path)).where("runs/a") == str(tmp_path / "runs" / "a")
    assert open_store("s3://bucket/prefix/").where("runs/a") == "s3://bucket/prefix/runs/a"
    assert open_store("s3://bucket").where("runs/a") == "s3://bucket/runs/a"


def test_a_folder_may_be_given_as_a_url_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    stores = [open_store(url) for url in ("store", "./store", str(tmp_path / "store"), f"file://{tmp_path}/store")]
    stores[0].put("a", b"1")
    assert [store.get("a") for store in stores] == [b"1"] * 4


def test_a_url_may_contain_escapes(tmp_path: Path):
    folder = tmp_path / "my faces é"
    open_store(folder.as_uri()).put("a", b"1")
    assert (folder / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a/.tmp-b", "a\\b", "a\nb", "a\0", "a\x7f"]
)
def test_keys_that_could_leave_the_store_are_refused(key: str):
    with pytest.raises(SettingsError):
        check_key(key)


def test_every_operation_refuses_a_key_that_leaves_the_store(store: Store, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    operations = [
        lambda: store.put("../outside", b"changed"),
        lambda: store.get("../outside"),
        lambda: store.fetch("../outside", tmp_path / "copy"),
        lambda: store.exists("../outside"),
        lambda: store.delete("../outside"),
        lambda: store.where("../outside"),
        lambda: store.list("../"),
    ]
    for operation in operations:
        with pytest.raises(SettingsError):
            operation()
    assert outside.read_bytes() == b"secret"


@given(st.text(alphabet=st.sampled_from("./\\a~ \0\n"), max_size=8))
@settings(deadline=None)
def test_every_accepted_key_stays_below_the_store(tmp_path_factory: pytest.TempPathFactory, key: str):
    root = tmp_path_factory.getbasetemp() / "store"
    try:
        where = Path(FileStore(root).where(key))
    except SettingsError:
        return
    assert root in Path(os.path.normpath(where)).parents


@pytest.mark.parametrize(
    "url", ["http://x/y", "s3://", "gs://bucket", "s3:/bucket", "S3://bucket", "file:/x", "file://host/x"]
)
def test_unsupported_addresses_are_refused_with_the_choices(url: str):
    with pytest.raises(SettingsError, match="s3://bucket/prefix"):
        open_store(url)


def test_a_store_in_a_folder_does_not_import_boto3(tmp_path: Path):
    with python("open_store(sys.argv[1]).put('a', b''); print('boto3' in sys.modules)", str(tmp_path)) as process:
        assert process.communicate() == ("False\n", "")


def test_a_missing_bucket_is_named(s3: dict[str, str]):
    store = open_store("s3://nowhere/x")
    for operation in (lambda: store.put("a", b""), lambda: store.get("a"), store.list, lambda: store.delete("a")):
        with pytest.raises(StoreError, match="no bucket 'nowhere'; create it or correct AGE_STORE"):
            operation()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys_are_named_without_the_secret(s3: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "a-wrong-one")
    store = open_store("s3://age/x")
    for operation in (lambda: store.put("a", b""), lambda: store.get("a"), store.list, lambda: store.exists("a")):
        with pytest.raises(StoreError, match=r"s3://age/x/.*denied.*check the AWS keys") as caught:
            operation()
        assert "a-wrong-one" not in str(caught.value)


def test_missing_keys_are_an_error_that_names_the_variables(
    s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="s3://age/x/a: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET"):
        open_store("s3://age/x").get("a")


def test_an_incomplete_pair_of_keys_is_an_error_that_names_the_variables(
    s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET"):
        open_store("s3://age/x").get("a")


def test_a_password_in_the_endpoint_is_not_shown(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:topsecret@127.0.0.1:1")
    monkeypatch.setattr(s3_store, "PAUSE_SECONDS", 0.0)
    with pytest.raises(StoreError) as caught:
        open_store("s3://age/x").get("a")
    assert "topsecret" not in str(caught.value)


def test_a_fetch_from_a_missing_bucket_names_the_bucket(s3: dict[str, str], tmp_path: Path):
    with pytest.raises(StoreError, match="no bucket 'nowhere'"):
        open_store("s3://nowhere/x").fetch("a", tmp_path / "a")


def test_an_error_of_the_file_system_names_the_path(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    store.put("a", b"")
    with pytest.raises(StoreError, match="store/a/b"):
        store.put("a/b", b"")


def test_an_unreachable_server_is_named(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(s3_store, "PAUSE_SECONDS", 0.0)
    with pytest.raises(StoreError, match=r"s3://age/x/a: .*http://127\.0\.0\.1:1/.*check AWS_ENDPOINT_URL"):
        open_store("s3://age/x").get("a")


def test_a_put_of_a_missing_file_leaves_only_the_old_content(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    store.put("a", b"old")
    with pytest.raises(FileNotFoundError):
        store.put("a", tmp_path / "not there")
    assert store.get("a") == b"old"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a"]


def test_an_interrupted_put_leaves_only_the_old_content(tmp_path: Path):
    """Only the first megabyte can be written, as on a full disk."""
    store = FileStore(tmp_path / "store")
    store.put("a", b"old")
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
open_store(sys.argv[1]).put("a", b"new" * (1 << 20))
"""
    with python(code, store.url) as process:
        _, errors = process.communicate()
    assert "File too large" in errors
    assert store.get("a") == b"old"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a"]


@pytest.mark.parametrize("key", ["a", "new"])
def test_an_unfinished_put_is_not_visible(tmp_path: Path, key: str):
    store = FileStore(tmp_path / "store")
    store.put("a", b"old")
    source = tmp_path / "source"
    os.mkfifo(source)
    with ThreadPoolExecutor() as threads:
        writing = threads.submit(store.put, key, source)
        with source.open("wb") as pipe:
            pipe.write(b"x" * (3 << 20))  # a pipe holds far less: most of this has reached the store's disk
            assert store.get("a") == b"old"
            assert store.list() == ["a"]
        writing.result()
    assert store.list() == sorted({"a", key})
    assert store.get(key) == b"x" * (3 << 20)


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    store.put("a", b"old")
    source = tmp_path / "source"
    os.mkfifo(source)
    with (
        python("open_store(sys.argv[1]).put('a', Path(sys.argv[2]))", store.url, str(source)) as process,
        source.open("wb") as pipe,
    ):
        pipe.write(b"x" * (3 << 20))
        process.kill()
        process.wait()
    assert store.get("a") == b"old"
    assert store.list() == ["a"]


def test_concurrent_readers_see_only_complete_contents(store: Store):
    contents = {bytes([65 + i]) * 300_000 for i in range(8)}
    store.put("a", min(contents))
    start = threading.Barrier(len(contents) + 1)

    def write(content: bytes) -> None:
        start.wait()
        for _ in range(3):
            store.put("a", content)

    with ThreadPoolExecutor(len(contents)) as threads:
        writers = [threads.submit(write, content) for content in contents]
        start.wait()
        seen = {store.get("a")}
        while not all(writer.done() for writer in writers):
            seen.add(store.get("a"))
            assert store.list() == ["a"]
    for writer in writers:
        writer.result()
    assert seen <= contents
    assert store.get("a") in contents


Step = tuple[str, bytes | None]
steps = st.lists(
    st.tuples(st.sampled_from(["a", "b/c", "b/d", "e/f/g"]), st.one_of(st.none(), st.binary(max_size=8))), max_size=12
)


@given(steps)
@settings(deadline=None)
def test_a_folder_behaves_like_a_dictionary(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]):
    behaves_like_a_dictionary(FileStore(tmp_path_factory.mktemp("store")), steps)


@given(steps)
@example([("a", b"1"), ("b/c", b"2"), ("a", b"3"), ("b/c", None), ("b/d", b""), ("e/f/g", None)])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_bucket_behaves_like_a_dictionary(s3: dict[str, str], steps: list[Step]):
    behaves_like_a_dictionary(open_store(f"s3://age/{uuid.uuid4()}"), steps)


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A child process that runs `code` with its arguments in `sys.argv`."""
    code = "import sys; from pathlib import Path; from age_tasks.store import open_store\n" + code
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def behaves_like_a_dictionary(store: Store, steps: Iterable[Step]) -> None:
    model: dict[str, bytes] = {}
    for key, content in steps:
        if content is None:
            store.delete(key)
            model.pop(key, None)
        else:
            store.put(key, content)
            model[key] = content
        assert store.exists(key) == (key in model)
    assert {key: store.get(key) for key in store.list()} == model
    assert [(entry.key, entry.size) for entry in store.entries()] == [(key, len(model[key])) for key in sorted(model)]
    assert store.list("b/") == sorted(key for key in model if key.startswith("b/"))


def test_a_listing_has_files_and_links_to_them_but_no_pipe_no_linked_folder_and_no_unfinished_file(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    store.put("a/b/c", b"1")
    root = tmp_path / "store" / "a"
    (root / "link").symlink_to(root / "b" / "c")
    (root / "folder").symlink_to(tmp_path)
    (root / "broken").symlink_to(tmp_path / "none")
    (root / f"{TEMPORARY}x").write_bytes(b"half")
    os.mkfifo(root / "pipe")
    assert store.list() == ["a/b/c", "a/link"]
    assert [entry.size for entry in store.entries("a/")] == [1, 1]
    assert store.list("a/b/c/") == store.list("none/") == []


@pytest.mark.parametrize(("prefix", "folder"), [("", ""), ("runs/", "/runs")])
def test_a_folder_that_may_not_be_read_is_an_error_and_not_an_empty_one(
    prefix: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = FileStore(tmp_path)

    def refused(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(StoreError) as error:
        store.list(prefix)
    assert str(error.value) == f"{tmp_path}{folder}: Permission denied; check the folder and its permissions"
