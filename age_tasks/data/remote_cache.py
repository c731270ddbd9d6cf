"""The store of `AGE_CACHE_REMOTE`, through which the caches of several machines exchange what they have computed.

It holds
    features/<prefix digest>/<shard>.npy, .json    as in the local cache; the .json is written last
    probes/<version>/<time>-<random>.json          rows of the index of probes, see `data.exchanged_probes`
"""

from age_tasks.environment import Locations
from age_tasks.store import open_store
from age_tasks.store.base import Store

THREADS = 16  # small objects that are fetched at the same time


def remote_cache() -> Store | None:
    """The store; None where `AGE_CACHE_REMOTE` names none: the local cache is then all there is.

    Raises:
        SettingsError: the address is invalid.
    """
    address = Locations.from_env().cache_remote
    return open_store(address) if address else None
