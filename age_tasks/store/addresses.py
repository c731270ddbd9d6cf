"""Addresses of stores, folders and files: validation, and display without passwords."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from age_tasks.errors import SettingsError, without_user

TABLES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".parquet"})  # files whose names end so are tables

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FILE = re.compile(r"file://(?:localhost)?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)


def check_address(address: str) -> str:
    """The address, if it contains no user or password, so that it may be shown and recorded.

    Raises:
        SettingsError: it contains one; the message omits it.
    """
    if without_user(address) != address:
        raise SettingsError(
            f"{without_user(address)!r} was given with a user or password, which reports and records would show; "
            "remove it from the address, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return address


def local_path(address: str) -> Path:
    """The absolute path that a plain path or a `file:///` address names; `#` and `?` in it are part of the path.

    Raises:
        SettingsError: another scheme or another host, or no path that a system can have.
    """
    found = _FILE.fullmatch(address)
    if not found and _SCHEME.match(address):
        raise SettingsError(
            f"{without_user(address)!r} is not a supported address: use file:///folder, a path, or s3://bucket/prefix"
        )
    try:
        path = Path(unquote(found["path"], errors="surrogateescape")) if found else Path(address).expanduser()
        os.fsencode(path)
    except (RuntimeError, UnicodeEncodeError):  # ~nobody; half a character
        raise SettingsError(
            f"{address!r} names no folder of this machine: write its whole path, from /, in UTF-8"
        ) from None
    if "\0" in str(path):
        raise SettingsError(f"{address!r} is no path: it contains a NUL character; write it without")
    return path.absolute()


def tar_files(address: str) -> tuple[str, str]:
    """The folder and the pattern of an address of tar files, such as `s3://bucket/faces/*.tar`; empty of another one.

    A folder of this machine whose name ends in `.tar` is a folder.
    """
    if not address.endswith(".tar"):
        return "", ""
    if address.startswith("s3://"):
        folder, _, pattern = address.rpartition("/")
        return (folder, pattern) if folder != "s3:/" else ("", "")
    path = local_path(address)
    try:
        return ("", "") if path.is_dir() else (str(path.parent), path.name)
    except OSError:  # such as a name that is too long
        return "", ""
