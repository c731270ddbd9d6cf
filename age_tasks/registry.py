"""Versions of the model in the store: `models/<version>/`, its manifest written last.

A version without a manifest is not a version. The manifest lists the sha256 and size of every file.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from age_tasks.store import Store

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
        listed[name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    manifest = {"version": version, **facts, "files": listed}
    store.put(f"models/{version}/{MANIFEST}", json.dumps(manifest, indent=2).encode() + b"\n")
    return store.where(f"models/{version}")
