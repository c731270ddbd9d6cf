"""Storage of artifacts in a folder (`file://`) or a bucket (`s3://`), behind one small interface."""

from age_tasks.errors import SettingsError
from age_tasks.store.addresses import check_address, local_path
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from age_tasks.store.s3 import ATTEMPTS, S3Store


def open_store(url: str, attempts: int = ATTEMPTS) -> Store:
    """The store at `file:///folder`, a plain path, or `s3://bucket/prefix`.

    Args:
        url: its address.
        attempts: how often a request to S3 that may pass is tried; fewer where a person waits for the answer.

    Raises:
        SettingsError: another scheme, no bucket, or a user or password in the address.
    """
    if check_address(url).startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise SettingsError(f"store {url!r}: no bucket; write s3://bucket/prefix")
        return S3Store(bucket, prefix.strip("/"), attempts)
    return FileStore(local_path(url))
