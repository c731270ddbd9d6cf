"""Addresses of stores, folders and files: checked, and shown without passwords."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from age_tasks.errors import SettingsError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


_USER_IN_URL = re.compile(r"(?<=://)[^/\s]+@")  # to the last @: passwords may hold one


def check_address(address: str) -> str:
    """The address, if it may be shown and written down: no user and password stand in it.

    Raises:
        SettingsError: they do; the message leaves them out.
    """
    if _USER_IN_URL.search(address):
        raise SettingsError(
            f"{without_user(address)!r} was given with a user or password in it, which reports and records would show; "
            "leave them out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return address


def without_user(text: str) -> str:
    """A text without the users and passwords of the addresses in it."""
    return _USER_IN_URL.sub("", text)


def local_path(address: str) -> Path:
    """The absolute path that a plain path or a `file:///` address names.

    Raises:
        SettingsError: another scheme, or another host.
    """
    if not _SCHEME.match(address):
        return Path(address).expanduser().absolute()
    url = urlsplit(address)
    if url.scheme != "file" or url.netloc not in {"", "localhost"} or not address.lower().startswith("file://"):
        raise SettingsError(
            f"{without_user(address)!r} is no place known here: use file:///folder, a path, or s3://bucket/prefix"
        )
    return Path(unquote(url.path)).absolute()
