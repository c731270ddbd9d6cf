"""A store in an S3 bucket."""

import contextlib
import hashlib
import io
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from age_tasks.errors import NotFoundError, SettingsError, StoreError
from age_tasks.store.addresses import without_user
from age_tasks.store.base import Entry, atomic_write, check_key

# A failed request is retried, with a pause that starts at about a second and doubles. A server that sends nothing for
# `SILENCE_SECONDS` counts as failed, so that an unresponsive one is given up within four minutes.
ATTEMPTS = 6
PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 30

_MD5 = re.compile(r"[0-9a-f]{32}")
_CORRUPTED = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
_DENIED = ("access denied", "check the AWS keys and their permissions")
_EXPIRED = ("the AWS credentials have expired or are no longer valid", "get new ones and set them")
_BUSY = (f"the server failed or was too busy in {ATTEMPTS} attempts", "run it again later")

# Error code of S3 → what happened, and what to do. The answer to a HEAD has no body: its code is the HTTP status.
_REFUSALS = {
    **dict.fromkeys(("AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"), _DENIED),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"), _EXPIRED),
    **dict.fromkeys(("InternalError", "ServiceUnavailable", "SlowDown", "500", "502", "503", "504"), _BUSY),
    **dict.fromkeys(_CORRUPTED, (f"the data was corrupted in transit in {ATTEMPTS} attempts", "check the network")),
    "RequestTimeTooSkewed": ("this machine's clock and the server's are too far apart", "correct the clock"),
    "400": ("the request was refused", "check that the AWS credentials have not expired"),
    "403": (
        "access denied",
        "check the AWS keys, their expiry and permissions, and this machine's clock",
    ),
}


class S3Store:
    """A bucket, or a prefix in one. See `Store` for the methods.

    Endpoint, keys and region come from the usual AWS variables, such as AWS_ENDPOINT_URL.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{check_key(prefix)}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._local = threading.local()

    def put(self, key: str, source: bytes | Path) -> None:
        # One request whatever the size: the ETag is then the content's MD5, and no incomplete upload stays behind.
        with contextlib.ExitStack() as stack:
            body = source if isinstance(source, bytes) else stack.enter_context(source.open("rb"))
            stack.enter_context(self._errors(key))
            self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=body)

    def get(self, key: str) -> bytes:
        content = io.BytesIO()
        self._read(key, content)
        return content.getvalue()

    def fetch(self, key: str, to: Path) -> None:
        with atomic_write(to) as temporary, temporary.open("wb") as out:
            self._read(key, out)

    def entry(self, key: str) -> Entry:
        with self._errors(key):
            found = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        return Entry(key, found["ContentLength"], found["ETag"].strip('"'))

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        start = self._prefix + (f"{check_key(prefix.rstrip('/'))}/" if prefix else "")
        with self._errors(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start):
                for item in page.get("Contents", ()):
                    if not item["Key"].endswith("/"):  # some tools create such objects to show folders
                        yield Entry(item["Key"].removeprefix(self._prefix), item["Size"], item["ETag"].strip('"'))

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def exists(self, key: str) -> bool:
        try:
            self.entry(key)
        except NotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError), self._errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def where(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._key(key)}"

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @property
    def _client(self) -> Any:
        """One client for each thread. boto3 takes a second to import, so it is imported only when a bucket is used."""
        if not hasattr(self._local, "client"):
            import boto3
            from botocore.config import Config

            retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
            config = Config(retries=retries, connect_timeout=10, read_timeout=SILENCE_SECONDS)
            try:
                client = boto3.session.Session().client("s3", config=config)
            except ValueError as error:
                cause = without_user(str(error))
                raise SettingsError(f"{self.url}: {cause}; set AWS_ENDPOINT_URL to http://host:port") from None
            client.meta.events.register("needs-retry.s3.PutObject", _retry_put)
            self._local.client = client
        return self._local.client

    def _read(self, key: str, sink: BinaryIO) -> None:
        """Write the object's bytes to `sink`, complete and unchanged.

        botocore retries until a body begins to arrive. A body that is cut off (also that of an error) or corrupted in
        transit is read again here. Where the ETag is no MD5, as for a multipart upload, two reads must agree.
        """
        from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError
        from urllib3.exceptions import HTTPError

        seen: set[str] = set()
        for attempt in range(ATTEMPTS):
            found: dict[str, Any] = {}
            with self._errors(key):
                sink.seek(0)
                sink.truncate()
                try:
                    found = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
                    digest = _copy_body(found["Body"], sink)
                except (HTTPClientError, IncompleteReadError, FlexibleChecksumError, HTTPError) as error:
                    tried = not found and isinstance(error, HTTPClientError)
                    if tried or attempt + 1 == ATTEMPTS:
                        raise
                    time.sleep(PAUSE_SECONDS * 2**attempt)
                    continue
            md5 = _md5(found)
            if digest == md5 or (md5 is None and digest in seen):
                return
            seen.add(digest)
        raise StoreError(
            f"{self.where(key)}: its content was corrupted in transit in {ATTEMPTS} reads{self._endpoint()}; "
            "check the network and any proxy, or upload the object again"
        )

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Translate the errors of boto3: with the address, the cause and the remedy."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            NoRegionError,
            PartialCredentialsError,
        )
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        where = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            yield
        except ClientError as error:
            raise self._client_error(where, error) from None
        except (NoCredentialsError, PartialCredentialsError):
            raise StoreError(f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
        except NoRegionError:
            raise StoreError(f"{where}: no region; set AWS_DEFAULT_REGION") from None
        except (BotoCoreError, ResponseParserError, HTTPError) as error:
            cause = without_user(str(error))
            raise StoreError(
                f"{where}: {cause}{self._endpoint()}; check AWS_ENDPOINT_URL, the bucket name and the network"
            ) from None

    def _client_error(self, where: str, error: Any) -> StoreError:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchBucket" or (code == "404" and not self._bucket_exists()):  # HEAD doesn't tell which
            return StoreError(f"{where}: there is no bucket '{self._bucket}'; create it or correct AGE_STORE")
        if code in {"NoSuchKey", "404", "NotFound"}:
            return NotFoundError(f"no {where}")
        what, cure = _REFUSALS.get(code, (str(error), "run it again later"))
        return StoreError(f"{where}: {what} ({code}){self._endpoint()}; {cure}")

    def _endpoint(self) -> str:
        return f" at {without_user(self._client.meta.endpoint_url)}"

    def _bucket_exists(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            return error.response.get("Error", {}).get("Code", "") not in {"404", "NoSuchBucket"}
        except BotoCoreError:  # unknown: do not blame the bucket
            return True
        return True


def _copy_body(body: Any, sink: BinaryIO) -> str:
    """Copy the body to `sink`; returns the MD5 of what was copied, 32 hex digits."""
    md5 = hashlib.md5(usedforsecurity=False)
    for block in body.iter_chunks(1 << 20):
        md5.update(block)
        sink.write(block)
    return md5.hexdigest()


def _md5(found: dict[str, Any]) -> str | None:
    """The object's MD5 if its ETag is that: not for a multipart upload, nor for an object encrypted with a key."""
    etag: str = found.get("ETag", "").strip('"')
    encrypted = found.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in found
    express = found.get("StorageClass") == "EXPRESS_ONEZONE"
    return etag if _MD5.fullmatch(etag) and not encrypted and not express else None


def _retry_put(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Seconds until botocore sends a body again that was corrupted in transit; None if it was not."""
    code = response[1].get("Error", {}).get("Code") if response else None
    return PAUSE_SECONDS * 2 ** (attempts - 1) if code in _CORRUPTED and attempts < ATTEMPTS else None
