"""Versions of the model in the store, and the promotion log that says which one is in use.

    registry/versions/<version>/...                  a version's files; its manifest, with their sha256, comes last
    registry/promotions/<number>-<time>-<lot>.json   an entry a promotion, never changed

The champion is the version that the last entry by name promotes. Two runs that race both write an entry of their own:
both stay in the history, which says so, and every reader agrees on the winner. No entry needs a conditional write,
which stores that speak S3 can't be trusted with.
"""

import getpass
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from age_tasks.environment import StageVariables
from age_tasks.errors import NotFoundError, SettingsError, StoreError
from age_tasks.store.base import Store, file_sha256, to_json

log = logging.getLogger(__name__)

VERSIONS, PROMOTIONS = "registry/versions/", "registry/promotions/"
MANIFEST = "manifest.json"
SHOWN_AFTER = (0, 1, 2, 4, 8, 16, 32)  # seconds between looks for a new entry


@dataclass(frozen=True)
class Promotion:
    """One entry of the log, with what its place in the log says."""

    key: str
    version: str
    number: int  # of the version, which people call v1, v2, …: the order of first promotions
    at: str
    who: str
    why: str
    run: str | None  # None for a rollback
    replaces: str | None  # the entry that was last when this one was written
    raced: bool  # it was not any more

    @property
    def name(self) -> str:
        """The short name of the version, such as `v12`."""
        return f"v{self.number}"


def publish_version(store: Store, version: str, files: Mapping[str, Path], facts: dict) -> str:
    """Put a version's files and then its manifest; returns the version's address. One that is there stays as it is.

    Args:
        version: a key of its own.
        files: name in the version → local file.
        facts: what else the manifest says (metrics, run).
    """
    if not store.exists(f"{VERSIONS}{version}/{MANIFEST}"):
        for name, path in files.items():
            store.put(f"{VERSIONS}{version}/{name}", path)
        listed = {name: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for name, path in files.items()}
        store.put(f"{VERSIONS}{version}/{MANIFEST}", to_json({"version": version, **facts, "files": listed}))
    return store.where(VERSIONS + version)


def manifest(store: Store, version: str) -> dict:
    """What a published version consists of.

    Raises:
        NotFoundError: no such version, or only a part of one.
    """
    try:
        return json.loads(store.get(f"{VERSIONS}{version}/{MANIFEST}"))
    except NotFoundError:
        raise NotFoundError(f"no version {version} in {store.url}") from None


def fetch_version(store: Store, version: str, folder: Path) -> dict:
    """Fetch a version's files into `folder`; returns its manifest.

    Raises:
        NotFoundError: no such version.
        StoreError: a file is not what the manifest says.
    """
    found = manifest(store, version)
    for name, listed in found["files"].items():
        store.fetch(f"{VERSIONS}{version}/{name}", folder / name)
        if file_sha256(folder / name) != listed["sha256"]:
            where = store.where(f"{VERSIONS}{version}/{name}")
            raise StoreError(f"{where} is not what its manifest says (sha256 differs)")
    return found


def history(store: Store) -> list[Promotion]:
    """The promotion log, oldest entry first."""
    keys = store.list(PROMOTIONS)
    before = dict(pairwise([None, *keys][::-1]))
    numbers: dict[str, int] = {}
    promotions = []
    for key in keys:
        entry = json.loads(store.get(key))
        number = numbers.setdefault(entry["version"], len(numbers) + 1)
        promotions.append(Promotion(key, number=number, raced=entry["replaces"] != before[key], **entry))
    return promotions


def champion(store: Store) -> Promotion | None:
    """The entry that names the version in use; None before the first promotion."""
    return next(reversed(history(store)), None)


def model_to_beat(store: Store, model_sha256: str) -> Promotion | None:
    """The version that a candidate has to beat: the champion, or the one before it where the candidate is that itself.

    So an unchanged run is measured against what it was measured against at first, and has nothing to do.
    """
    others = (entry for entry in reversed(history(store)) if _model(store, entry) != model_sha256)
    return next(others, None)


def published_before(store: Store, model_sha256: str) -> Promotion | None:
    """The last promotion of this very model."""
    same = (entry for entry in reversed(history(store)) if _model(store, entry) == model_sha256)
    return next(same, None)


def promote(
    store: Store,
    version: str,
    why: str,
    run: str | None = None,
    who: str | None = None,
    seen: Sequence[Promotion] | None = None,
) -> Promotion:
    """Append an entry that makes `version` the champion.

    Args:
        why: a sentence for those who read the history.
        run: the run that decided so; None for a person.
        who: the person who agreed to what a run decided; None: whoever acts here.
        seen: the log by which it was decided; what was written since counts as a race. None: as it is now.

    Raises:
        NotFoundError: the version was never published.
        StoreError: the store keeps the entry but does not list it.
    """
    manifest(store, version)
    keys = store.list(PROMOTIONS) if seen is None else [entry.key for entry in seen]
    number = int(keys[-1].removeprefix(PROMOTIONS).partition("-")[0]) + 1 if keys else 1
    now = datetime.now(UTC)
    key = f"{PROMOTIONS}{number:06d}-{now:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.json"
    entry = {"version": version, "at": now.isoformat(timespec="seconds"), "who": who or _who(), "why": why, "run": run}
    entry["replaces"] = keys[-1] if keys else None
    store.put(key, to_json(entry))
    promotions = _showing(store, key)
    if any(other.raced for other in promotions if other.key not in keys):
        log.warning("another promotion was written at the same time; %s holds", promotions[-1].name)
    return next(each for each in promotions if each.key == key)


def rollback(store: Store, why: str, to: str | None = None) -> Promotion:
    """Append an entry that makes an earlier version the champion again.

    Args:
        to: a number as in the history (`v12` or `12`); None: the version that the champion replaced at first.

    Raises:
        SettingsError: no such number, or nothing to go back to.
    """
    promotions = history(store)
    if not promotions:
        raise SettingsError(f"nothing was ever promoted in {store.url}")
    now = promotions[-1]
    if to is not None:
        wanted = find(promotions, to)
    elif now.number > 1:
        wanted = find(promotions, str(now.number - 1))
    else:
        raise SettingsError(f"the champion, {now.name}, is the first version: there is none before it")
    if wanted.version == now.version:
        raise SettingsError(f"{now.name} is the champion already")
    return promote(store, wanted.version, why, seen=promotions)


def find(promotions: Sequence[Promotion], name: str) -> Promotion:
    """The last entry of a version, by its number (`v12` or `12`) or its key.

    Raises:
        SettingsError: there is none; lists those there are.
    """
    number = re.fullmatch(r"v?(\d+)", name)
    for each in reversed(promotions):
        if each.version == name or (number and each.number == int(number[1])):
            return each
    there = ", ".join(dict.fromkeys(each.name for each in promotions)) or "none"
    raise SettingsError(f"no version {name!r} was ever promoted; there are: {there}")


def _showing(store: Store, key: str) -> list[Promotion]:
    """The log, when it shows the entry `key`: some stores list an object a while after they have it."""
    for pause in SHOWN_AFTER:
        time.sleep(pause)
        promotions = history(store)
        if any(entry.key == key for entry in promotions):
            return promotions
    raise StoreError(
        f"{store.where(key)} is written, but the store has not listed it within {sum(SHOWN_AFTER)} seconds; it holds "
        "once it does: see `python -m age_tasks history` before you try again"
    )


def _model(store: Store, entry: Promotion) -> str:
    return manifest(store, entry.version)["files"]["model.keras"]["sha256"]


def _who() -> str:
    """Who acts: `AGE_WHO`, which Airflow's tasks set, or the user of this machine."""
    try:
        return StageVariables.from_env().who or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"user {os.getuid()}"
