"""Storage that fails, lags, corrupts and recovers: a real S3 server behind a proxy that injects faults."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import boto3
import botocore.auth
import pytest

from age_tasks.cli.app import main
from age_tasks.data.labels_file import content_sha256
from age_tasks.demo.synthetic_faces import Sample, draw_sample
from age_tasks.errors import NotFoundError, StoreError
from age_tasks.registry import challenges
from age_tasks.registry import promotions as registry
from age_tasks.registry.challenges import ChallengeEntry, challenge_number
from age_tasks.registry.promotions import champion, fetch_version, history, promote, publish_version
from age_tasks.runs.keys import RECORD
from age_tasks.runs.run import Workspace
from age_tasks.stages import publish
from age_tasks.store import open_store
from age_tasks.store import s3 as stores
from age_tasks.store.base import TEMPORARY, Store
from age_tasks.store.s3 import ATTEMPTS
from tests.faults.faulty_proxy import FAULTS, FaultyProxy, faulty_proxy, first, some
from tests.faults.tally import Tally
from tests.support.builders import NOT_EXPORTED
from tests.support.s3_server import serve_s3
from tests.support.settings import point_at

ALWAYS = 10_000
BUCKET = "s3://age"
AWAY_SECONDS = 30


@pytest.fixture
def proxy(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy that the AWS variables lead to; a stall is three seconds, two of silence are a failure."""
    with faulty_proxy(s3["AWS_ENDPOINT_URL"], stall=3.0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(stores, "SILENCE_SECONDS", 2.0)
        monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.01)
        yield proxy


def bucket(name: str) -> Store:
    return open_store(f"{BUCKET}/{name}")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.faults] if "stall" in kind else []) for kind in FAULTS]
)
def test_a_transient_fault_is_survived_by_a_retry(proxy: FaultyProxy, kind: str, tmp_path: Path, tally: Tally):
    with tally.attempt("storage_faults", lambda: proxy.done[kind]):
        store, source = bucket(tmp_path.name), tmp_path / "source"
        source.write_bytes(random.Random(1).randbytes(3_000_000))
        operations: tuple[Callable[[], object], ...] = (
            lambda: store.put("a", source),
            lambda: store.put("b", b"small"),
            lambda: store.get("a") == source.read_bytes(),
            lambda: store.fetch("b", tmp_path / "b"),
            store.list,
            lambda: store.exists("a"),
        )
        for operation in operations:
            proxy.plan = first(1, kind)
            operation()
        assert store.get("a") == source.read_bytes()
        assert (tmp_path / "b").read_bytes() == b"small"
        assert store.list() == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("internal error", rf"failed or was too busy in {ATTEMPTS} attempts \(InternalError\).*run it again later"),
        ("slow down", rf"failed or was too busy in {ATTEMPTS} attempts \(SlowDown\).*run it again later"),
        ("request reset", "check AWS_ENDPOINT_URL, the bucket name and the network"),
        pytest.param("stall", "[Tt]imeout.*check AWS_ENDPOINT_URL", marks=pytest.mark.faults),
        ("credentials expired", r"credentials have expired.*\(ExpiredToken\).*get new ones"),
        ("clock is off", r"clock.*too far apart \(RequestTimeTooSkewed\).*correct the clock"),
    ],
)
def test_a_permanent_fault_is_reported_after_all_attempts(proxy: FaultyProxy, kind: str, says: str, tmp_path: Path):
    store = bucket(tmp_path.name)
    passing = kind in FAULTS
    for operation in (lambda: store.put("a", b"new"), lambda: store.get("a"), store.list):
        proxy.plan, before = first(ALWAYS, kind), sum(proxy.requests.values())
        with pytest.raises(StoreError, match=f"{BUCKET}/{tmp_path.name}/a?: .*{says}") as caught:
            operation()
        assert proxy.url in str(caught.value)
        assert sum(proxy.requests.values()) - before == (ATTEMPTS if passing else 1)


@pytest.mark.parametrize(
    ("kind", "method", "says"),
    [
        ("answer changed", "GET", f"corrupted in transit in {ATTEMPTS} reads"),
        ("request changed", "PUT", f"corrupted in transit in {ATTEMPTS} attempts"),
        ("answer reset", "GET", "check AWS_ENDPOINT_URL, the bucket name and the network"),
        pytest.param("answer stalls", "GET", "[Tt]imed? ?out", marks=pytest.mark.faults),
    ],
)
def test_content_that_is_always_corrupted_is_never_accepted(
    proxy: FaultyProxy, kind: str, method: str, says: str, tmp_path: Path
):
    store = bucket(tmp_path.name)
    store.put("a", b"the content" * 1000)
    proxy.plan = first(ALWAYS, kind, method)
    (tmp_path / "local").write_bytes(b"as it was")
    with pytest.raises(StoreError, match=says):
        store.fetch("a", tmp_path / "local") if method == "GET" else store.put("a", b"another" * 1000)
    assert ATTEMPTS <= proxy.done[kind] <= 2 * ATTEMPTS  # more only where the machine is too busy for a quick answer
    proxy.plan = first(0, "")
    assert (tmp_path / "local").read_bytes() == b"as it was"
    assert store.get("a") == b"the content" * 1000


def test_corruption_is_detected_when_the_etag_is_no_checksum(proxy: FaultyProxy, tmp_path: Path):
    """As of objects that others have put in parts: two readings must agree."""
    client, key, part = boto3.client("s3"), f"{tmp_path.name}/labels.csv", random.Random(2).randbytes(5 << 20)
    upload = client.create_multipart_upload(Bucket="age", Key=key)["UploadId"]
    named, parts = {"Bucket": "age", "Key": key, "UploadId": upload}, []
    for number, body in ((1, part), (2, b"the rest")):
        tag = client.upload_part(**named, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    client.complete_multipart_upload(Bucket="age", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    proxy.plan = first(1, "answer changed", "GET")
    assert bucket(tmp_path.name).get("labels.csv") == part + b"the rest"
    assert proxy.done["answer changed"] == 1


@pytest.mark.parametrize("minutes", [-60, 60])
def test_a_wrong_clock_is_named(s3, minutes: int, tmp_path: Path, monkeypatch):
    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *given, **named: now(*given, **named) + timedelta(minutes=minutes)
    )
    with pytest.raises(StoreError, match="correct the clock"):
        bucket(tmp_path.name).put("a", b"")
    with pytest.raises(StoreError, match="this machine's clock"):
        bucket(tmp_path.name).exists("a")


def test_a_promotion_waits_until_the_listing_shows_it(proxy: FaultyProxy, tmp_path: Path, monkeypatch):
    store = bucket(tmp_path.name)
    monkeypatch.setattr(registry, "LISTING_PAUSES", (0, 0.3, 0.6, 1.2, 2.4))
    published(store, tmp_path, "one")
    proxy.lag = 1.0
    promoted = promote(store, "one", "gate passed", run="one")
    assert proxy.done["listing lags"]
    assert champion(store) == promoted
    assert (promoted.name, len(history(store))) == ("v1", 1)


def test_a_listing_that_never_shows_the_entry_is_an_error(proxy: FaultyProxy, tmp_path: Path, monkeypatch):
    store = bucket(tmp_path.name)
    monkeypatch.setattr(registry, "LISTING_PAUSES", (0, 0.1))
    published(store, tmp_path, "one")
    proxy.lag = 3600
    with pytest.raises(StoreError, match=r"promotions/000001-.* is written, but .*age-tasks history"):
        promote(store, "one", "gate passed", run="one")
    proxy.lag = 0
    assert [entry.version for entry in history(store)] == ["one"]


def test_challenges_that_are_listed_late_are_all_counted(proxy: FaultyProxy, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(challenges, "LISTING_PAUSES", (0, 0.3, 0.6, 1.2, 2.4))
    proxy.lag = 1.0

    def challenged(model: str) -> int:
        entry = ChallengeEntry(champion="one", model=model, test="a", run=model, at="2026-11-26T10:00:00+00:00")
        return challenge_number(bucket(tmp_path.name), entry)

    with ThreadPoolExecutor(3) as racers:
        numbers = sorted(racers.map(challenged, ["first", "second", "third"]))
    assert proxy.done["listing lags"]
    assert all(number >= least for least, number in enumerate(numbers, start=1))
    assert challenged("later") == 4


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_stalled_server_is_given_up_within_minutes(s3, tmp_path: Path, monkeypatch, tally: Tally):
    """With the real bounds: a stall that passes costs half a minute, one that doesn't is given up within four."""
    with tally.attempt("storage_stalls", 2):
        store = bucket(tmp_path.name)
        store.put("a", b"content")
        took = []
        with faulty_proxy(s3["AWS_ENDPOINT_URL"], stall=45.0) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            store = bucket(tmp_path.name)
            for stalls in (1, ALWAYS):
                proxy.plan, began = first(stalls, "stall"), time.monotonic()
                try:
                    said = store.get("a").decode()
                except StoreError as error:
                    said = str(error)
                took.append((time.monotonic() - began, said))
        (passing, content), (lasting, error) = took
        assert content == "content"
        assert passing < 60
        assert lasting < 300
        assert "Read timeout on endpoint URL" in error
        tally.note("storage_stalls", passing_seconds=round(passing), lasting_seconds=round(lasting))


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_everything_goes_on_after_a_server_was_stopped_for_30_seconds(
    tmp_path: Path, sample: Sample, monkeypatch, tally: Tally
):
    """`validate`, and each operation of a store, with a real server that ends and is started again."""
    operations: dict[str, Callable[[Store], object]] = {
        "put": lambda store: store.put("new", b"new"),
        "get": lambda store: store.get("old"),
        "list": lambda store: store.list(""),
        "exists": lambda store: store.exists("old"),
        "delete": lambda store: store.delete("older"),
        "validate": lambda _: main(["validate", "--run", "monday"]),
    }
    expected = {"put": None, "get": b"old", "exists": True, "delete": None, "validate": 0}
    with tally.attempt("storage_stalls", len(operations)), serve_s3(tmp_path) as served:
        for name, value in served.items():
            monkeypatch.setenv(name, value)
        point_at(monkeypatch, tmp_path, sample.labels)
        monkeypatch.setenv("AGE_STORE", f"{BUCKET}/away")
        assert main(["snapshot", "--run", "monday", "--recipe", "demo"]) == 0
        for key in ("old", "older"):
            open_store(f"{BUCKET}/other").put(key, key.encode())
        served.stop()
        back = threading.Timer(AWAY_SECONDS, served.start)
        back.start()
        began = time.monotonic()
        with ThreadPoolExecutor(len(operations)) as pool:
            running = {name: pool.submit(act, open_store(f"{BUCKET}/other")) for name, act in operations.items()}
            found = {name: each.result() for name, each in running.items()}
        assert time.monotonic() - began > AWAY_SECONDS
        back.join()
        assert set(found.pop("list")) <= {"old", "older", "new"}
        assert found == expected


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(40))
def test_random_faults_leave_every_object_complete(proxy: FaultyProxy, seed: int, tmp_path: Path, tally: Tally):
    """After each operation, done or refused, an object is what it was or what was put: never a part or a mixture."""
    with tally.attempt("storage_faults", lambda: proxy.done.total()):
        rng, store = random.Random(seed), bucket(f"random-{seed}")
        proxy.plan = some(rng.choice((0.1, 0.3, 0.6)), FAULTS, seed)
        possible: dict[str, set[bytes | None]] = {key: {None} for key in "abc"}
        refused: list[tuple[str, str]] = []
        for _ in range(30):
            key, act = rng.choice("abc"), rng.choice(("put", "get", "fetch", "delete"))
            content = rng.randbytes(rng.choice((0, 10, 100_000))) if act == "put" else None
            if act in ("put", "delete"):
                possible[key] = possible[key] | {content}
            try:
                possible[key] &= {do(store, act, key, content, tmp_path / "local")}
            except StoreError as error:
                refused.append((key, str(error)))
            assert possible[key], (act, key)
            assert not list(tmp_path.glob(f"{TEMPORARY}*"))
        proxy.plan = first(0, "")
        for key, contents in possible.items():
            assert do(store, "get", key, None, tmp_path / "local") in contents
        assert all(f"{BUCKET}/random-{seed}/{key}" in said for key, said in refused)


@pytest.fixture(scope="session")
def faces(s3_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """40 faces, also in the bucket."""
    sample = draw_sample(tmp_path_factory.mktemp("faces"), 40, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.items():
            patch.setenv(name, value)
        store = bucket("faces")
        store.put("labels.csv", sample.labels)
        for image in sample.images.iterdir():
            store.put(f"images/{image.name}", image)
    return sample


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_a_snapshot_under_faults_is_correct_or_fails(
    proxy: FaultyProxy, seed: int, faces: Sample, tmp_path: Path, monkeypatch, capsys, tally: Tally
):
    with tally.attempt("storage_faults", lambda: proxy.done.total()):
        point_at(monkeypatch, tmp_path, faces.labels)
        assert main(["snapshot", "--run", "local"]) == 0
        right = open_store(str(tmp_path / "store")).get("runs/local/snapshot/snapshot.csv")
        monkeypatch.setenv("AGE_LABELS", f"{BUCKET}/faces/labels.csv")
        monkeypatch.setenv("AGE_STORE", f"{BUCKET}/snapshot-{seed}")
        store = bucket(f"snapshot-{seed}")
        for attempt, rate in enumerate((random.Random(seed).choice((0.05, 0.2, 0.6)), 0.0)):
            proxy.plan = some(rate, FAULTS, seed)
            code = main(["snapshot", "--run", "monday"])
            proxy.plan = first(0, "")
            assert code == 0 if attempt else code in (0, StoreError.exit_code)
            assert_told_without_traceback(code, capsys)
            record = stage_record(store, "runs/monday/snapshot")
            assert ((record or {}).get("status") == "done") == (code == 0)
            if code == 0:
                assert store.get("runs/monday/snapshot/snapshot.csv") == right
                assert record["outputs"]["snapshot.csv"]["sha256"] == content_sha256(right)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_a_publication_under_faults_is_complete_and_happens_once_or_never(
    proxy: FaultyProxy,
    seed: int,
    finished: Workspace,
    sample: Sample,
    tmp_path: Path,
    monkeypatch,
    capsys,
    tally: Tally,
):
    with tally.attempt("storage_faults", lambda: proxy.done.total()):
        copied = bucket(f"publish-{seed}")
        for key in finished.store.list("runs/"):
            if "/publish/" not in key and "/data_docs/" not in key:
                copied.put(key, finished.store.get(key))
        point_at(monkeypatch, tmp_path, sample.labels)
        monkeypatch.setenv("AGE_STORE", copied.url)
        monkeypatch.setattr(registry, "LISTING_PAUSES", (0, 0.5, 1, 2))
        monkeypatch.setattr(publish, "_export", lambda *_: NOT_EXPORTED)
        for attempt, rate in enumerate((random.Random(seed).choice((0.05, 0.2, 0.6)), 0.0)):
            proxy.plan, proxy.lag = some(rate, FAULTS, seed), (0.0, 1.0)[seed % 2]
            code = main(["publish", "--run", "finished"])
            proxy.plan, proxy.lag = first(0, ""), 0.0
            assert code == 0 if attempt else code in (0, StoreError.exit_code)
            assert_told_without_traceback(code, capsys)
            promoted = history(copied)
            assert len(promoted) <= 1
            for entry in promoted:  # what is promoted is there, whole
                fetch_version(copied, entry.version, tmp_path / f"version-{attempt}")
        assert [entry.name for entry in promoted] == ["v1"]
        assert stage_record(copied, "runs/finished/publish")["summary"]["promoted"]
        assert copied.exists("reports/finished.html")


def assert_told_without_traceback(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert code == 0 or "s3://age" in said


def stage_record(store: Store, folder: str) -> dict | None:
    try:
        return json.loads(store.get(f"{folder}/{RECORD}"))
    except NotFoundError:
        return None


def do(store: Store, act: str, key: str, content: bytes | None, local: Path) -> bytes | None:
    """Put, delete, get or fetch; returns the content that the object then has, None without one."""
    if act == "put":
        store.put(key, content)
    elif act == "delete":
        store.delete(key)
    else:
        try:
            if act == "get":
                return store.get(key)
            store.fetch(key, local)
            return local.read_bytes()
        except NotFoundError:
            return None
    return content


def published(store: Store, folder: Path, version: str) -> None:
    (folder / "model.keras").write_bytes(version.encode())
    publish_version(store, version, {"model.keras": folder / "model.keras"}, {"run": version, "test_mae": 6.5})
