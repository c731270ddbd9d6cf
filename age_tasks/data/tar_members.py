"""The members of a tar file that nobody vouches for, in one pass.

Nothing is unpacked here: a member's name is a text, and what a link or a device stands for is never looked at.
"""

import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Self

MAX_HEADER_BYTES = 1 << 20  # of a long name and the like, which are read into memory
_READ_BYTES = 1 << 18  # at a time
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}
_IN_MEMORY = {
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
}  # fmt: skip
_HERE = re.compile(r"\A(?:\./+)+")


class DamagedTarError(Exception):
    """This is no tar file, or only a part of one. The message says why."""


class Member(NamedTuple):
    """A member of a tar file that is no folder."""

    name: str  # as it is written, but without `./` before it: any text
    offset: int  # of its content from the beginning of the file, in bytes
    size: int  # of its content, in bytes
    kind: str  # what it is if it is no ordinary file, such as `a link`; else empty


def members(file: BinaryIO, largest: int) -> Iterator[tuple[Member, bytes | None]]:
    """Each member with its content, in order, read once from the beginning to the end mark.

    Args:
        file: of which nothing but `read` is used.
        largest: bytes of a content that is read; of a larger one, and of what is no ordinary file, None is given.

    Raises:
        DamagedTarError: this is no tar file, or it is cut off.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|", bufsize=_READ_BYTES, tarinfo=_Header) as tar:
            end = 0
            while (found := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it remembers all
                member = Member(_HERE.sub("", found.name, count=1), found.offset_data, found.size, _kind(found))
                if member.size < 0 or member.offset < end:
                    raise DamagedTarError(f"the header of {member.name!r} contradicts the one before")
                end = member.offset
                if not found.isdir():
                    yield member, _content(tar, found, member, largest)
    except (tarfile.TarError, EOFError, ArithmeticError, LookupError, RecursionError, ValueError) as error:
        raise DamagedTarError(f"{error} in a header") from None


class _Header(tarfile.TarInfo):
    """A header that is checked where tarfile takes damage for the end of the file, or reads without a bound."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if not buf:
            raise DamagedTarError("it ends without the end mark of a tar file")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf) and len(buf) == tarfile.BLOCKSIZE:  # the end mark
                raise
            packed = next((name for magic, name in _COMPRESSED.items() if buf.startswith(magic)), "")
            raise DamagedTarError(f"it is compressed by {packed}" if packed else str(error)) from None
        if header.size < 0 or (header.type in _IN_MEMORY and header.size > MAX_HEADER_BYTES):
            raise DamagedTarError(f"a header of {header.size:,} bytes")
        return header


def _kind(found: tarfile.TarInfo) -> str:
    if found.issparse():
        return "a sparse file"
    if found.isreg():
        return ""
    return "a link" if found.issym() or found.islnk() else "a device or pipe"


def _content(tar: tarfile.TarFile, found: tarfile.TarInfo, member: Member, largest: int) -> bytes | None:
    if member.kind or member.size > largest:
        return None
    file = tar.extractfile(found)
    content = file.read() if file else b""
    if len(content) < member.size:
        raise DamagedTarError(f"it ends within {member.name!r}")
    return content
