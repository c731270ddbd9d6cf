"""Versions of the model in the store, and the promotion log that says which one is in use.

    models/<version>/...                    a version's files; its manifest, with their sha256, is written last
    promotions/<number>-<time>-<lot>.json   one entry a promotion, never changed: version, and the entry it replaces

The champion is the version that the last entry by name promotes. Two runs that race both write an entry of their own:
both stay in the history, and every reader agrees on the winner.
"""

import json
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from age_tasks.errors import NotFoundError, StoreError
from age_tasks.store import Store, file_sha256

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


def publish_version(store: Store, version: str, files: Mapping[str, Path], facts: dict) -> str:
    """Put a version's files and then its manifest; returns the version's address.

    Args:
        version: a key of its own, the run's.
        files: name in the version → local file.
        facts: what else the manifest says (metrics, run).
    """
    listed = {}
    for name, path in files.items():
        store.put(f"models/{version}/{name}", path)
        listed[name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    manifest = {"version": version, **facts, "files": listed}
    store.put(f"models/{version}/{MANIFEST}", json.dumps(manifest, indent=2).encode() + b"\n")
    return store.where(f"models/{version}")


def fetch_version(store: Store, version: str, folder: Path) -> dict:
    """Fetch a version's files into `folder`; returns its manifest.

    Raises:
        NotFoundError: no such version.
        StoreError: a file is not what the manifest says.
    """
    manifest = json.loads(store.get(f"models/{version}/{MANIFEST}"))
    for name, listed in manifest["files"].items():
        store.fetch(f"models/{version}/{name}", folder / name)
        if file_sha256(folder / name) != listed["sha256"]:
            raise StoreError(
                f"{store.where(f'models/{version}/{name}')} is not what its manifest says (sha256 differs)"
            )
    return manifest


def champion(store: Store) -> str | None:
    """The version in use; None before the first promotion."""
    entries = store.list("promotions/")
    return json.loads(store.get(entries[-1]))["version"] if entries else None


def promote(store: Store, version: str) -> str:
    """Append an entry that makes `version` the champion; returns its key.

    Raises:
        NotFoundError: the version was never published.
    """
    if not store.exists(f"models/{version}/{MANIFEST}"):
        raise NotFoundError(f"no version {version} in {store.url}")
    before = store.list("promotions/")
    number = int(before[-1].removeprefix("promotions/").partition("-")[0]) + 1 if before else 1
    now = datetime.now(UTC)
    key = f"promotions/{number:06d}-{now:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.json"
    entry = {"version": version, "replaces": before[-1] if before else None, "at": now.isoformat()}
    store.put(key, json.dumps(entry, indent=2).encode() + b"\n")
    rivals = [other for other in store.list("promotions/") if other not in before and other != key]
    if rivals:
        log.warning("another promotion was written at the same time (%s); the last by name holds", ", ".join(rivals))
    return key
