import contextlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.data.tar_members import MAX_HEADER_BYTES, DamagedTarError, Member, members
from tests.support.tars import tar_of


def read(data: bytes, largest: int = 1_000) -> list[tuple[Member, bytes | None]]:
    return list(members(io.BytesIO(data), largest))


def test_members_are_named_with_their_places_and_contents():
    data = tar_of({"a.jpg": b"first", "sub/b.jpg": b"second" * 100, "empty": b""})
    found = read(data)
    assert [(member.name, content) for member, content in found] == [
        ("a.jpg", b"first"), ("sub/b.jpg", b"second" * 100), ("empty", b""),
    ]  # fmt: skip
    for member, content in found:
        assert data[member.offset : member.offset + member.size] == content


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_names_of_all_forms_are_read(form: int):
    names = ["./a.jpg", "x" * 90 + "/" + "y" * 80 + ".jpg", "andr\xe9.jpg"]
    found = read(tar_of(dict.fromkeys(names, b"content"), form=form))
    assert [member.name for member, _ in found] == ["a.jpg", *names[1:]]


def test_a_large_content_is_not_read():
    found = read(tar_of({"large": b"x" * 1_001, "small": b"x"}))
    assert [(member.size, content) for member, content in found] == [(1_001, None), (1, b"x")]


def member_of(kind: bytes) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)

    return add


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device or pipe"),
        (tarfile.BLKTYPE, "a device or pipe"),
        (tarfile.FIFOTYPE, "a device or pipe"),
    ],
)
def test_links_and_devices_have_no_content(kind: bytes, said: str):
    (first, content), (second, _) = read(tar_of({"b": b"1"}, before=member_of(kind)))
    assert (first.name, first.kind, content) == ("odd", said, None)
    assert (second.name, second.kind) == ("b", "")


def test_folders_are_no_members():
    assert [member.name for member, _ in read(tar_of({"b": b"1"}, before=member_of(tarfile.DIRTYPE)))] == ["b"]


WHOLE = tar_of({"a.jpg": b"first" * 200, "b.jpg": b"second"})


def with_header(size: bytes, kind: bytes = b"0") -> bytes:
    info = tarfile.TarInfo("a")
    header = bytearray(info.tobuf())
    header[124:136], header[156:157] = size, kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "without the end mark"),
        (b"not a tar file" * 100, "bad checksum|invalid header"),
        (b"\x1f\x8b" + bytes(600), "compressed by gzip"),
        (WHOLE[:700], "ends within 'a.jpg'|unexpected end"),
        (WHOLE[: 512 + 1024], "without the end mark"),
        (WHOLE[: 512 + 1024 + 100], "truncated header"),
        (WHOLE[: 512 + 1024] + b"x" * 512 + WHOLE, "bad checksum|invalid header"),
        (with_header(b"%011o\0" % (MAX_HEADER_BYTES + 1), tarfile.GNUTYPE_LONGNAME) + bytes(2048), "bytes"),
        (with_header(b"%011o\0" % (MAX_HEADER_BYTES + 1), tarfile.XHDTYPE) + bytes(2048), "bytes"),
        (with_header(b"\xff" * 12) + bytes(2048), "header of -1 bytes"),
        (with_header(b"77777777777\0") + bytes(2048), "ends within 'a'|unexpected end|without the end mark"),
    ],
)
def test_what_is_no_whole_tar_file_is_damaged(data: bytes, says: str):
    with pytest.raises(DamagedTarError, match=says):
        read(data)


@given(st.data())
def test_damage_anywhere_is_found_or_harmless(data: st.DataObject):
    """Whatever is written over the file: an error of one kind, or members within it."""
    damaged = bytearray(WHOLE)
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    new = data.draw(st.binary(min_size=1, max_size=600))
    damaged[at : at + len(new)] = new
    for member, content in as_far_as_whole(bytes(damaged)):
        if content is not None:
            assert bytes(damaged)[member.offset : member.offset + member.size] == content


def as_far_as_whole(data: bytes) -> list[tuple[Member, bytes | None]]:
    found: list[tuple[Member, bytes | None]] = []
    with contextlib.suppress(DamagedTarError):
        found.extend(members(io.BytesIO(data), 1_000))
    return found


def test_the_file_is_never_written_nor_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names = ["../out.jpg", "/etc/out.jpg", "a/../../out.jpg"]
    assert [member.name for member, _ in read(tar_of(dict.fromkeys(names, b"x")))] == names
    assert not list(tmp_path.iterdir())
