"""A bucket in memory, behind a server that answers late, to measure what waits for it.

`python -m benchmarks.slow_bucket FOLDER SECONDS` serves the files of a folder, each answer late by SECONDS, and prints
its address. It answers listings, GET with and without a range, and checks no signature.
"""

import asyncio
import hashlib
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000  # objects in an answer to a listing
_RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-(\d+)", re.IGNORECASE)


class Bucket:
    """The objects, and the answers to requests for them."""

    def __init__(self, folder: Path) -> None:
        """Read all files of a folder, and below it."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._objects = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        self._etags = {
            key: hashlib.md5(content, usedforsecurity=False).hexdigest() for key, content in self._objects.items()
        }

    def answer(self, head: bytes) -> bytes:
        """The answer to a request.

        Args:
            head: its first line and headers.
        """
        url = urlsplit(head.split(b" ", 2)[1].decode())
        key, query = unquote(url.path).removeprefix("/").partition("/")[2], parse_qs(url.query)
        if "list-type" in query:
            listing = self._page(query.get("prefix", [""])[0], query.get("continuation-token", [""])[0])
            return _answer(200, listing, b"Content-Type: application/xml\r\n")
        if key not in self._objects:
            missing = b"<Error><Code>NoSuchKey</Code></Error>"
            return _answer(404, missing, b"Content-Type: application/xml\r\n")
        content, etag = self._objects[key], f'ETag: "{self._etags[key]}"\r\n'.encode()
        if found := _RANGE.search(head):
            return _answer(206, content[int(found[1]) : int(found[2]) + 1], etag)
        return _answer(200, content, etag)

    def _page(self, prefix: str, after: str) -> bytes:
        keys = [key for key in self._objects if key.startswith(prefix) and key > after]
        shown, more = keys[:PAGE], len(keys) > PAGE
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self._objects[key])}</Size>"
            f"<ETag>{self._etags[key]}</ETag></Contents>"
            for key in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><Name>bucket</Name><KeyCount>{len(shown)}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
        ).encode()


def _answer(status: int, content: bytes, headers: bytes) -> bytes:
    return b"HTTP/1.1 %d -\r\nx-amz-request-id: 1\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status, headers, len(content), content,
    )  # fmt: skip


class _Connection(asyncio.Protocol):
    def __init__(self, bucket: Bucket, late: float) -> None:
        self._bucket, self._late, self._received = bucket, late, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            asyncio.get_running_loop().call_later(self._late, self._transport.write, self._bucket.answer(head))


async def serve(folder: Path, late: float) -> None:
    """Serve the files of a folder until cancelled; prints the address when it is ready.

    Args:
        late: seconds between a request and its answer.
    """
    bucket = Bucket(folder)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(bucket, late), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
