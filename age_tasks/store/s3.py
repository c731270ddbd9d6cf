"""A store in an S3 bucket."""

import base64
import contextlib
import hashlib
import io
import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from age_tasks.errors import AgeTasksError, NotFoundError
from age_tasks.store import s3_errors
from age_tasks.store.base import Entry, atomic_write, check_key
from age_tasks.store.s3_errors import CorruptedError, LocalFileError, NotS3Error

# A failed request that may pass is tried again after pauses of about 1, 2, 4, 8, 16 and 16 seconds, so that a server
# may be away for over half a minute. One that sends nothing for `SILENCE_SECONDS` counts as failed; a server that stays
# silent is given up within five minutes.
ATTEMPTS = 7
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 16.0
SILENCE_SECONDS = 30
CONNECTIONS = 64  # that are kept open, for as many threads

_MD5 = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")


class S3Store:
    """A bucket, or a prefix in one. See `Store` for the methods.

    Endpoint, keys and region come from the usual AWS variables, such as AWS_ENDPOINT_URL.
    """

    def __init__(self, bucket: str, prefix: str, attempts: int = ATTEMPTS) -> None:
        self._attempts = attempts
        self._bucket = bucket
        self._prefix = f"{check_key(prefix)}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._region, self._style = "", ""  # what the server asked for; empty: as configured
        self._lock = threading.Lock()
        self._made: tuple[Any, tuple[str, str]] | None = None  # the client, and the region and style it is for
        self._secrets: tuple[str, ...] = ()

    def put(self, key: str, source: bytes | Path) -> None:
        # One request whatever the size: the ETag is then the content's MD5, and no incomplete upload stays behind.
        # The MD5 is the checksum that every S3 server knows; newer ones are refused by some.
        with contextlib.ExitStack() as stack:
            content = io.BytesIO(source) if isinstance(source, bytes) else stack.enter_context(source.open("rb"))
            md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
            size = content.tell()

            def send(client: Any) -> Any:
                content.seek(0)
                return client.put_object(
                    Bucket=self._bucket, Key=self._key(key), Body=content, ContentMD5=base64.b64encode(md5).decode()
                )

            self._ask("PUT", key, send, size)

    def get(self, key: str) -> bytes:
        content = io.BytesIO()
        self._read(key, content)
        return content.getvalue()

    def fetch(self, key: str, to: Path) -> None:
        with atomic_write(to) as temporary, temporary.open("wb") as out:
            self._read(key, out)

    def entry(self, key: str) -> Entry:
        def look(client: Any) -> Entry:
            return _entry(key, client.head_object(Bucket=self._bucket, Key=self._key(key)), "ContentLength")

        return self._ask("HEAD", key, look)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        start = self._prefix + (f"{check_key(prefix.rstrip('/'))}/" if prefix else "")
        given: dict[str, str] = {}

        def page(client: Any) -> tuple[list[Entry], str]:
            found = client.list_objects_v2(Bucket=self._bucket, Prefix=start, **given)
            if not {"Name", "IsTruncated", "KeyCount"} & set(found):
                raise NotS3Error("the listing has none of a listing's fields")
            items = [item for item in found.get("Contents", ()) if not item["Key"].endswith("/")]  # those show folders
            following = found.get("NextContinuationToken", "") if found.get("IsTruncated") else ""
            if following and following == given.get("ContinuationToken"):
                raise NotS3Error("the listing does not come to an end")
            return [_entry(item["Key"].removeprefix(self._prefix), item, "Size") for item in items], following

        while True:
            found, following = self._ask("GET", prefix, page)
            yield from found
            if not following:
                return
            given["ContinuationToken"] = following

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def exists(self, key: str) -> bool:
        try:
            self.entry(key)
        except NotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._ask("DELETE", key, lambda client: client.delete_object(Bucket=self._bucket, Key=self._key(key)))

    def where(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._key(key)}"

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @property
    def _client(self) -> Any:
        """The client of all threads. boto3 takes a second to import, so it is imported only when a bucket is used."""
        with self._lock:
            wanted = (self._region, self._style)
            if self._made is None or self._made[1] != wanted:
                self._made = self._new_client(), wanted
            return self._made[0]

    def _new_client(self) -> Any:
        import boto3
        import botocore.session
        from botocore.config import Config

        core = botocore.session.Session()
        self._secrets = s3_errors.check_settings(core, self.url)
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},  # `_ask` tries again
            connect_timeout=10,
            read_timeout=SILENCE_SECONDS,
            max_pool_connections=CONNECTIONS,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **({"s3": {"addressing_style": self._style}} if self._style else {}),
        )
        session = boto3.session.Session(botocore_session=core)
        client = session.client("s3", config=config, region_name=self._region or None)
        client.meta.events.register("before-call.s3", _follow_no_redirect)
        # With this pattern before botocore's own handler, which makes 500 of the status of such an answer.
        client.meta.events.register("before-parse.*.*", _refuse_pages)
        return client

    def _ask(self, method: str, key: str, operation: Callable[[Any], T], size: int | None = None) -> T:
        """The result of `operation` with a client. What may pass is tried again, with growing pauses.

        Raises:
            StoreError, SettingsError: with the address, the cause and the cure.
        """
        for attempt in itertools.count(1):
            client = None
            try:
                client = self._client
                return operation(client)
            except LocalFileError as error:
                raise error.error from None
            except (AgeTasksError, MemoryError):
                raise
            except Exception as error:  # boto3 raises errors of itself, urllib3, ssl and Python
                if attempt <= 2 and client and self._adapt(error, client):
                    continue
                request = self._request(method, key, size)
                failure = s3_errors.explain(error, request)
                if failure.kind is NotFoundError and s3_errors.error_code(error) != "NoSuchKey":
                    failure = self._which_is_missing(failure, request)
                if not failure.passes or attempt == self._attempts:
                    raise failure.error(request) from None
            time.sleep(min(PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS) * random.uniform(1, 1.2))
        raise AssertionError("the last attempt returns or raises")

    def _adapt(self, error: Exception, client: Any) -> bool:
        """Take over the region or the form of address that the server asks for; whether there is a new one to try.

        Another thread may have done so since `client` was used.
        """
        region = s3_errors.told_region(error)
        if region and region != client.meta.region_name:
            self._region = region
            return True
        style = (client.meta.config.s3 or {}).get("addressing_style")
        if s3_errors.error_code(error) in s3_errors.PATH_STYLE_REFUSED and style != "virtual":
            self._style = "virtual"
            return True
        return False

    def _request(self, method: str, key: str, size: int | None) -> s3_errors.Request:
        client = self._made[0] if self._made else None
        endpoint, region = ("", "") if client is None else (client.meta.endpoint_url, client.meta.region_name or "")
        where = f"s3://{self._bucket}/{self._prefix}{key}"
        return s3_errors.Request(where, self._bucket, method, self._attempts, region, endpoint, size, self._secrets)

    def _which_is_missing(self, failure: s3_errors.Failure, request: s3_errors.Request) -> s3_errors.Failure:
        """The object or the bucket: the answer to a HEAD of an object does not tell."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except Exception as error:
            if s3_errors.http_status(error) == 404:
                return s3_errors.no_bucket(request)
            if isinstance(error, NotS3Error):
                return s3_errors.explain(error, request)
        return failure

    def _read(self, key: str, sink: BinaryIO) -> None:
        """Write the object's bytes to `sink`, complete and unchanged.

        A body that is cut off or corrupted in transit is read again. Where the ETag is no MD5, as for a multipart
        upload, two reads must agree.
        """
        seen: set[str] = set()

        def read(client: Any) -> None:
            for _ in range(2):
                found = client.get_object(Bucket=self._bucket, Key=self._key(key))
                digest, md5 = _copy_body(found["Body"], sink), _md5(found)
                status = found["ResponseMetadata"]["HTTPStatusCode"]
                if md5 is None and status != 200:
                    raise NotS3Error(f"the answer to a GET has the status {status}")
                if digest == md5 or (md5 is None and digest in seen):
                    return
                if md5 is not None:
                    break
                seen.add(digest)  # a read that its ETag contradicts confirms no other
            raise CorruptedError

        self._ask("GET", key, read)


def _entry(key: str, found: dict[str, Any], size: str) -> Entry:
    if size not in found or not found.get("ETag"):
        raise NotS3Error(f"the answer has no {'size' if size not in found else 'ETag'}")
    return Entry(key, found[size], found["ETag"].strip('"'))


def _refuse_pages(response_dict: dict[str, Any], **_: Any) -> None:
    """Refuse the page of a web server that answers every request with one."""
    if response_dict["status_code"] < 300 and s3_errors.is_page(response_dict["headers"]):
        raise NotS3Error("the answer is a web page")


def _copy_body(body: Any, sink: BinaryIO) -> str:
    """Copy the body to the empty `sink`; returns the MD5 of what was copied, 32 hex digits."""
    md5 = hashlib.md5(usedforsecurity=False)
    _to_local_file(sink.seek, 0)
    _to_local_file(sink.truncate)
    for block in body.iter_chunks(1 << 20):
        md5.update(block)
        _to_local_file(sink.write, block)
    return md5.hexdigest()


def _to_local_file(act: Callable[..., object], *given: object) -> None:
    try:
        act(*given)
    except OSError as error:
        raise LocalFileError(error) from None


def _md5(found: dict[str, Any]) -> str | None:
    """The object's MD5 if its ETag is that: not for a multipart upload, nor for an object encrypted with a key."""
    etag: str = found.get("ETag", "").strip('"')
    encrypted = found.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in found
    express = found.get("StorageClass") == "EXPRESS_ONEZONE"
    return etag if _MD5.fullmatch(etag) and not encrypted and not express else None


def _follow_no_redirect(params: dict[str, Any], **_: Any) -> None:
    """Keep botocore from following a redirect itself: it asks the bucket where to, is redirected again, and so on."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
