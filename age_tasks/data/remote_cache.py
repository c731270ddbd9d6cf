"""The store of `AGE_CACHE_REMOTE`, through which the caches of several machines exchange what they have computed.

It holds
    features/<prefix digest>/<shard>.npy, .json    as in the local cache; the .json is written last
    probes/<version>/<time>-<random>.json          rows of the index of probes, see `data.exchanged_probes`
"""

import math

from age_tasks.environment import Locations
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Store
from age_tasks.store.disk import free_bytes

THREADS = 16  # small objects that are fetched at the same time


def remote_cache() -> Store | None:
    """The store; None where `AGE_CACHE_REMOTE` names none: the local cache is then all there is.

    Raises:
        SettingsError: the address is invalid.
    """
    address = Locations.from_env().cache_remote
    return open_store(address) if address else None


def room_in(store: Store) -> float:
    """Bytes that may be added to a store: those free on the disk of a folder; a bucket takes any number."""
    return math.inf if store.url.startswith("s3://") else free_bytes(local_path(store.url))
