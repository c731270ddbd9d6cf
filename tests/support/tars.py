"""Tar files for tests."""

import io
import tarfile
from collections.abc import Callable, Mapping


def tar_of(
    contents: Mapping[str, bytes],
    form: int = tarfile.PAX_FORMAT,
    before: Callable[[tarfile.TarFile], None] = lambda tar: None,
) -> bytes:
    """A tar file with these members.

    Args:
        contents: of the members, by their names.
        form: of the headers.
        before: adds others before them.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        before(tar)
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
