"""How far a stage is that is being executed: written to the store every few seconds, for its page."""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from age_tasks.errors import AgeTasksError
from age_tasks.progress import Status, watched_by
from age_tasks.runs.keys import live_file, live_file_of_share, share_of_live_file, stage_folder
from age_tasks.runs.records import now
from age_tasks.store.base import Store
from age_tasks.store.documents import Document

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
PATIENCE_SECONDS = 2.0  # of the end of a stage with a store that does not answer


class LiveStatus(Document):
    """`live.json`: the last status of the stage, see `age_tasks.progress.Status`; `at` is ISO in UTC."""

    if_lost: ClassVar[str] = "remove it"

    at: str
    what: str
    done: int
    total: int
    per_second: float
    seconds_left: float | None
    note: str
    epochs: list[dict[str, Any]]
    most_epochs: int
    part: str = ""


def live_status(store: Store, run: str, stage: str) -> LiveStatus | None:
    """How far the stage was when it said so last; None if it says nothing, or what it says can't be read."""
    return _status_in(store, live_file(run, stage))


def statuses_of_shares(store: Store, run: str, work: str) -> dict[tuple[int, int], LiveStatus]:
    """As `live_status`, of the tasks that share the work before a stage: by the number of the share, and of how many.

    Raises:
        StoreError: the store can't be listed.
    """
    shares = {share: key for key in store.list(stage_folder(run, work)) if (share := share_of_live_file(key))}
    found = {share: _status_in(store, shares[share]) for share in sorted(shares)}
    return {share: status for share, status in found.items() if status}


def _status_in(store: Store, key: str) -> LiveStatus | None:
    try:
        return LiveStatus.parse(store.get(key), store.where(key))
    except AgeTasksError:
        return None


@contextlib.contextmanager
def shared_status(store: Store, run: str, stage: str, every_seconds: float = EVERY_SECONDS) -> Iterator[None]:
    """Write the status of this process into the store while the context lasts, and remove it at the end.

    A store that can't be written delays nothing: the status is for people who watch. Work that is done before the first
    `every_seconds` are over writes nothing.

    Args:
        every_seconds: between two writes.
    """
    with _shared(_Sharing(store, live_file(run, stage), every_seconds)):
        yield


@contextlib.contextmanager
def shared_status_of_share(
    store: Store, run: str, work: str, number: int, of: int, every_seconds: float = EVERY_SECONDS
) -> Iterator[None]:
    """As `shared_status`, of a task that does a share of the work before a stage.

    What a killed attempt at this share has left is removed, and what one at another number of shares has.

    Args:
        number: of the share, from 1.
        of: number of shares.
    """
    sharing = _Sharing(store, live_file_of_share(run, work, number, of), every_seconds)

    def is_left_over(key: str) -> bool:
        share = share_of_live_file(key)
        return share is not None and (share[1] != of or share[0] == number)

    sharing.left_over = lambda: filter(is_left_over, store.list(stage_folder(run, work)))
    with _shared(sharing):
        yield


@contextlib.contextmanager
def _shared(sharing: "_Sharing") -> Iterator[None]:
    thread = threading.Thread(target=sharing.write_until_the_end, name="live status", daemon=True)
    thread.start()
    try:
        with watched_by(sharing.take):
            yield
    finally:
        sharing.ended.set()
        thread.join(PATIENCE_SECONDS)


class _Sharing:
    """The status that was said last, and the thread's work of writing it."""

    def __init__(self, store: Store, key: str, every_seconds: float) -> None:
        self.ended = threading.Event()
        self.left_over: Callable[[], Iterable[str]] = tuple  # keys to remove first
        self._store, self._key, self._every = store, key, every_seconds
        self._last: Status | None = None
        self._written: Status | None = None

    def take(self, status: Status) -> None:
        self._last = status

    def write_until_the_end(self) -> None:
        with contextlib.suppress(AgeTasksError, OSError):
            for key in self.left_over():
                self._store.delete(key)
        while not self.ended.wait(self._every):
            if self._last is not self._written:
                self._write(self._last)
        if self._written:
            with contextlib.suppress(AgeTasksError, OSError):
                self._store.delete(self._key)

    def _write(self, status: Status | None) -> None:
        if status is None:
            return
        document = LiveStatus(
            at=now(),
            what=status.what,
            done=status.done,
            total=status.total,
            per_second=status.per_second,
            seconds_left=status.seconds_left,
            note=status.note,
            epochs=[_finite(row) for row in status.epochs],
            most_epochs=status.most_epochs,
            part=status.part,
        )
        self._written = status
        try:
            self._store.put(self._key, document.to_bytes())
        except (AgeTasksError, OSError) as error:
            log.debug("%s was not written: %s", self._key, error)


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    """The row as JSON can hold it: a training that diverged has errors that are no numbers."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
