"""Addresses of stores, folders and files: validation, and display without passwords."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from age_tasks.errors import SettingsError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_USER_IN_URL = re.compile(r"(?<=://)[^/\s]+@")  # up to the last @: a password may contain one


def check_address(address: str) -> str:
    """The address, if it contains no user or password, so that it may be shown and recorded.

    Raises:
        SettingsError: it contains one; the message omits it.
    """
    if _USER_IN_URL.search(address):
        raise SettingsError(
            f"{without_user(address)!r} was given with a user or password, which reports and records would show; "
            "remove it from the address, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return address


def without_user(text: str) -> str:
    """The text with the users and passwords removed from the addresses in it."""
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
            f"{without_user(address)!r} is not a supported address: use file:///folder, a path, or s3://bucket/prefix"
        )
    return Path(unquote(url.path)).absolute()
