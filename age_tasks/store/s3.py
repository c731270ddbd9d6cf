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
from typing import Any, BinaryIO, cast

from age_tasks.errors import AgeTasksError, NotFoundError
from age_tasks.store import s3_errors
from age_tasks.store.base import Entry, T, atomic_write, check_key, require_size
from age_tasks.store.s3_errors import CorruptedError, LocalFileError, NotS3Error

# A failed request that may pass is tried again after pauses of about 1, 2, 4, 8, 16 and 16 seconds, so that a server
# may be away for over half a minute. One that sends nothing for `SILENCE_SECONDS` counts as failed; a server that stays
# silent is given up within five minutes.
ATTEMPTS = 7
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 16.0
SILENCE_SECONDS = 30
CONNECTIONS = 64  # that are kept open, for as many threads
PAGE = 1000  # keys in an answer to a listing

_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-\d+")


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

    def fetch(self, key: str, to: Path, at_most: int | None = None) -> None:
        with atomic_write(to) as temporary, temporary.open("wb") as out:
            self._read(key, out, at_most)

    def read_through(self, key: str, read: Callable[[BinaryIO], T]) -> T:
        seen: set[str] = set()

        def attempt(client: Any) -> T:
            for _ in range(2):
                found = client.get_object(Bucket=self._bucket, Key=self._key(key))
                body = _Digested(found["Body"], self._part_size(client, key, found))
                result, md5 = read(cast(BinaryIO, body)), _md5(found)
                body.read_rest()
                if body.md5 == md5 or (md5 is None and (body.md5_of_parts == _etag(found) or body.md5 in seen)):
                    return result
                if md5 is not None:
                    break
                seen.add(body.md5)
            raise CorruptedError

        return self._ask("GET", key, attempt)

    def _part_size(self, client: Any, key: str, found: dict[str, Any]) -> int:
        """Bytes of each part of a multipart upload, by which its ETag tells whether it was read unchanged; else 0."""
        if not _MD5_OF_PARTS.fullmatch(_etag(found)):
            return 0
        from botocore.exceptions import ClientError

        try:
            first = client.head_object(Bucket=self._bucket, Key=self._key(key), PartNumber=1)
        except ClientError:  # the server does not know this: two reads must agree
            return 0
        return int(first.get("ContentLength") or 0)

    def get_part(self, entry: Entry, start: int, size: int, sha256: str) -> bytes:
        place = {"Range": f"bytes={start}-{start + size - 1}", "IfMatch": f'"{entry.etag}"'}

        def read(client: Any) -> bytes:
            part: bytes = client.get_object(Bucket=self._bucket, Key=self._key(entry.key), **place)["Body"].read()
            if hashlib.sha256(part).hexdigest() != sha256:
                raise CorruptedError
            return part

        return self._ask("GET", entry.key, read) if size else b""

    def entry(self, key: str) -> Entry:
        def look(client: Any) -> Entry:
            return _entry(key, client.head_object(Bucket=self._bucket, Key=self._key(key)), "ContentLength")

        return self._ask("HEAD", key, look)

    def entries(self, prefix: str = "", after: str = "", limit: int | None = None) -> Iterator[Entry]:
        # A server that ignores where to start or how many to list sends more than was asked for.
        return itertools.islice((entry for entry in self._listed(prefix, after, limit) if entry.key > after), limit)

    def _listed(self, prefix: str, after: str, limit: int | None) -> Iterator[Entry]:
        start = self._prefix + (f"{check_key(prefix.rstrip('/'))}/" if prefix else "")
        given: dict[str, Any] = {"StartAfter": self._key(after)} if after else {}
        if limit is not None and limit < PAGE:
            given["MaxKeys"] = limit

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

    def list(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        return [entry.key for entry in self.entries(prefix, after, limit)]

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

    def _read(self, key: str, sink: BinaryIO, at_most: int | None = None) -> None:
        """Write the object's bytes to `sink`, complete and unchanged; of one larger than `at_most` bytes, none.

        A body that is cut off or corrupted in transit is read again. Where the ETag is no MD5, as for a multipart
        upload, two reads must agree.
        """
        seen: set[str] = set()

        def read(client: Any) -> None:
            for _ in range(2):
                found = client.get_object(Bucket=self._bucket, Key=self._key(key))
                with contextlib.closing(found["Body"]) as body:  # what is not read of it is not transferred
                    require_size(self.where(key), found.get("ContentLength", 0), at_most)
                    digest = _copy_body(body, sink)
                md5 = _md5(found)
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


class _Digested:
    """The body of an answer, and the MD5 of what was read of it.

    Args:
        part: bytes of each part of a multipart upload; 0 if it is none.
    """

    def __init__(self, body: Any, part: int) -> None:
        self._body, self._part = body, part
        self._whole = hashlib.md5(usedforsecurity=False)
        self._of_part, self._left = hashlib.md5(usedforsecurity=False), part
        self._parts: list[bytes] = []

    def read(self, size: int) -> bytes:
        block: bytes = self._body.read(size)
        self._whole.update(block)
        rest = memoryview(block) if self._part else memoryview(b"")
        while rest:
            self._of_part.update(rest[: self._left])
            taken = min(len(rest), self._left)
            rest, self._left = rest[taken:], self._left - taken
            if not self._left:
                self._end_part()
        return block

    def read_rest(self) -> None:
        while self.read(1 << 20):
            pass
        if self._part and self._left < self._part:
            self._end_part()

    def _end_part(self) -> None:
        self._parts.append(self._of_part.digest())
        self._of_part, self._left = hashlib.md5(usedforsecurity=False), self._part

    @property
    def md5(self) -> str:
        """Of all that was read, 32 hex digits."""
        return self._whole.hexdigest()

    @property
    def md5_of_parts(self) -> str:
        """What S3 gives as the ETag of a multipart upload."""
        return f"{hashlib.md5(b''.join(self._parts), usedforsecurity=False).hexdigest()}-{len(self._parts)}"


def _entry(key: str, found: dict[str, Any], size: str) -> Entry:
    if size not in found or not found.get("ETag"):
        raise NotS3Error(f"the answer has no {'size' if size not in found else 'ETag'}")
    return Entry(key, found[size], _etag(found))


def _etag(found: dict[str, Any]) -> str:
    return str(found.get("ETag", "")).strip('"')


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
    etag = _etag(found)
    encrypted = found.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in found
    express = found.get("StorageClass") == "EXPRESS_ONEZONE"
    return etag if _MD5.fullmatch(etag) and not encrypted and not express else None


def _follow_no_redirect(params: dict[str, Any], **_: Any) -> None:
    """Keep botocore from following a redirect itself: it asks the bucket where to, is redirected again, and so on."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
