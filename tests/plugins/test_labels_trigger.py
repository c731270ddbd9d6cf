"""The trigger with real labels files, in a folder and on an S3 server, without Airflow."""

import asyncio
import contextlib
import itertools
import re
import socket
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from age_retraining_plugin.labels_trigger import NewLabelsTrigger, labels_asset, labels_schedule
from airflow.sdk import Asset, AssetAll
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from age_tasks.data.labels_file import content_sha256, record_snapshot
from age_tasks.environment import PROJECT
from age_tasks.errors import SettingsError
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore

POLL, SETTLE, A_WHILE = 0.05, 0.3, 0.8
ONE, TWO = b"file_name,real_age\na.jpg,1\n", b"file_name,real_age\na.jpg,1\nb.jpg,2\n"


class Memory(dict):
    """The state store of an asset, which Airflow keeps across restarts of the triggerer."""

    async def aget(self, key: str, default: object = None) -> object:
        return self.get(key, default)

    async def aset(self, key: str, value: object) -> None:
        self[key] = value


class Watch:
    """A running trigger, and the events it has fired."""

    def __init__(self, store: Store, labels: str, memory: Memory, once_more_seconds: float = 60):
        self.trigger = NewLabelsTrigger(labels, store.url, POLL, SETTLE, once_more_seconds)
        self.trigger.asset_state_store = memory
        self.fired: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        async for event in self.trigger.run():
            await self.fired.put(event.payload["sha256"])

    async def next(self, seconds: float = 10) -> str:
        return await asyncio.wait_for(self.fired.get(), seconds)

    async def nothing(self, seconds: float = A_WHILE) -> bool:
        await asyncio.sleep(seconds)
        return self.fired.empty()


@contextlib.asynccontextmanager
async def watching(
    store: Store, labels: str, memory: Memory | None = None, once_more_seconds: float = 60
) -> AsyncIterator[Watch]:
    watch = Watch(store, labels, Memory() if memory is None else memory, once_more_seconds)
    listening = asyncio.create_task(watch.listen())
    try:
        yield watch
        assert not listening.done(), "a trigger never ends"
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


def note(store: Store, labels: str, data: bytes) -> None:
    record_snapshot(store, labels, data, "a-run")


def test_each_new_content_fires_once_and_equal_content_never(store: Store):
    labels = store.where("labels.csv")

    async def story() -> None:
        store.put("labels.csv", ONE)
        async with watching(store, labels) as watch:
            assert await watch.next() == content_sha256(ONE)
            note(store, labels, ONE)
            store.put("labels.csv", ONE)
            assert await watch.nothing()
            store.put("labels.csv", TWO)
            assert await watch.next() == content_sha256(TWO)
            note(store, labels, TWO)
            store.put("labels.csv", ONE)
            assert await watch.next() == content_sha256(ONE), "back to the old labels is a change too"

    asyncio.run(story())


def test_labels_with_a_snapshot_do_not_fire(store: Store):
    labels = store.where("labels.csv")
    store.put("labels.csv", ONE)
    note(store, labels, ONE)

    async def story() -> None:
        async with watching(store, labels) as watch:
            assert await watch.nothing()

    asyncio.run(story())


def test_a_file_that_is_being_written_does_not_fire(tmp_path: Path):
    store, labels = FileStore(tmp_path / "store"), tmp_path / "labels.csv"

    async def story() -> None:
        async with watching(store, str(labels)) as watch:
            with labels.open("wb") as file:
                for number in range(10):
                    file.write(b"line %d\n" % number)
                    file.flush()
                    assert await watch.nothing(SETTLE / 2)
            assert await watch.next() == content_sha256(labels.read_bytes())

    asyncio.run(story())


def test_the_last_event_is_remembered_across_restarts(store: Store):
    labels, memory = store.where("labels.csv"), Memory()
    store.put("labels.csv", ONE)

    async def story() -> None:
        async with watching(store, labels, memory) as watch:
            await watch.next()
            await watch.nothing(0.1)
        async with watching(store, labels, memory) as watch:
            assert await watch.nothing()
        store.put("labels.csv", TWO)
        async with watching(store, labels, memory) as watch:
            assert await watch.next() == content_sha256(TWO)

    asyncio.run(story())


def test_an_event_without_a_snapshot_is_repeated_at_growing_intervals(tmp_path: Path):
    store, labels = FileStore(tmp_path / "store"), tmp_path / "labels.csv"
    labels.write_bytes(ONE)

    async def story() -> None:
        async with watching(store, str(labels), once_more_seconds=0.3) as watch:
            fired = []
            for _ in range(4):
                assert await watch.next() == content_sha256(ONE)
                fired.append(asyncio.get_running_loop().time())
            waits = [later - earlier for earlier, later in itertools.pairwise(fired)]
            assert [wait >= least for wait, least in zip(waits, (0.3, 0.6, 1.2), strict=True)] == [True] * 3
            note(store, str(labels), ONE)
            assert await watch.nothing(3)

    asyncio.run(story())


def test_missing_labels_are_logged_once_and_noticed_when_they_appear(tmp_path: Path, capfd, caplog):
    store, labels = FileStore(tmp_path / "store"), tmp_path / "faces" / "labels.csv"

    async def story() -> None:
        async with watching(store, str(labels)) as watch:
            assert await watch.nothing(1.5)
            FileStore(labels.parent).put(labels.name, ONE)
            assert await watch.next() == content_sha256(ONE)

    asyncio.run(story())
    said = caplog.text + "".join(capfd.readouterr())
    assert said.count(f"{labels}: not found") == 1


def test_the_trigger_survives_an_outage_of_the_server(s3: dict[str, str], tmp_path: Path, monkeypatch):
    labels = f"s3://age/{tmp_path.name}/labels.csv"
    open_store(f"s3://age/{tmp_path.name}").put("labels.csv", ONE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = int(s3["AWS_ENDPOINT_URL"].rpartition(":")[2])
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    async def story() -> None:
        async with watching(open_store(f"s3://age/{tmp_path.name}"), labels) as watch:
            assert await watch.nothing(2)
            async with forwarding(port, server):
                assert await watch.next(60) == content_sha256(ONE)

    asyncio.run(story())


@contextlib.asynccontextmanager
async def forwarding(port: int, to: int) -> AsyncIterator[None]:
    """Connections to `port` reach the local server at `to`."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while block := await source.read(1 << 16):
                target.write(block)
                await target.drain()
        target.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to)
        both: list[Coroutine] = [copy(reader, back), copy(there, writer)]
        await asyncio.gather(*both)

    server = await asyncio.start_server(forward, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


def test_the_trigger_can_be_restored_from_what_airflow_stores():
    trigger = labels_asset({"AGE_LABELS": "/faces/labels.csv", "AGE_STORE": "s3://bucket/age"}).watchers[0].trigger
    path, given = trigger.serialize()
    assert path == "age_retraining_plugin.labels_trigger.NewLabelsTrigger"
    assert NewLabelsTrigger(**given).serialize() == (path, given)
    assert (given["labels"], given["store"]) == ("/faces/labels.csv", "s3://bucket/age")
    assert given["poll_seconds"] + given["settle_seconds"] < 30


def test_relative_paths_start_at_the_checkout():
    trigger = labels_asset({"AGE_LABELS": "faces/labels.csv", "AGE_STORE": "store"}).watchers[0].trigger
    assert (trigger.labels, trigger.store) == (f"{PROJECT}/faces/labels.csv", f"{PROJECT}/store")


def test_intervals_come_from_the_environment():
    env = {"AGE_LABELS": "labels.csv", "AGE_LABELS_POLL_SECONDS": "60", "AGE_SETTLE_SECONDS": "300"}
    trigger = labels_asset(env).watchers[0].trigger
    assert (trigger.poll_seconds, trigger.settle_seconds) == (60, 300)
    for wrong in ("0", "-3", "soon", "nan", "inf"):
        with pytest.raises(SettingsError, match=f"AGE_SETTLE_SECONDS='{wrong}' is invalid: expected a number of sec"):
            labels_asset(env | {"AGE_SETTLE_SECONDS": wrong})


def test_the_schedule_combines_labels_and_cron():
    labels = labels_asset({"AGE_LABELS": "labels.csv"})
    both = labels_schedule(labels, "0 3 * * 1")
    assert both.asset_condition == AssetAll(labels)
    assert both.timetable.expression == "0 3 * * 1"
    assert labels_schedule(labels, "none") == [labels]
    assert isinstance(labels, Asset)
    assert labels_asset({}) is None
    assert labels_schedule(None, "0 3 * * 1").expression == "0 3 * * 1"
    assert labels_schedule(None, "none") is None
    assert labels_schedule(None, "@daily") is not None


@pytest.mark.parametrize("cron", ["every day", "0 25 * * *", "0 3 * *", "0 0 31 2 *"])
def test_a_wrong_schedule_is_refused_by_name_and_value(cron: str):
    with pytest.raises(SettingsError, match=re.escape(f"AGE_SCHEDULE={cron!r} is invalid: expected a cron expr")):
        labels_schedule(None, cron)


def test_turning_a_dag_on_makes_up_for_no_time_of_its_schedule():
    a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    schedule = labels_schedule(None, f"{a_minute_ago.minute} {a_minute_ago.hour} * * *")
    timetable = decode_timetable(encode_timetable(schedule))
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert first is not None
    assert first.run_after > datetime.now(UTC)
