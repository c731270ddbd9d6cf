"""What shaped a result: code, versions, machine, memory."""

import contextlib
import hashlib
import json
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from age_tasks.resources import package_path

RECORDED_PACKAGES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "great-expectations",
)


def fingerprint_of(name: str, code: Sequence[str], settings: dict[str, Any], inputs: dict[str, str]) -> str:
    """What a stage's result depends on, as 64 hex digits: its name, the code that shapes it, settings and inputs."""
    parts = [name, code_digest(tuple(code)), settings, inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_digest(paths: tuple[str, ...]) -> str:
    """sha256 over files, by relative path and content, 64 hex digits.

    Args:
        paths: files and folders, relative to the package `age_tasks`; see `package_path`.

    Raises:
        FileNotFoundError: there is no such path.
    """
    found = {name: path for each in paths for name, path in _sources(each)}
    digest = hashlib.sha256()
    for name, path in sorted(found.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources(name: str) -> Iterator[tuple[str, Path]]:
    """The files that count, by relative path: code, templates and expectations; no compiled Python, nothing hidden."""
    root = package_path(name)
    if root.is_file():
        yield name, root
    for path in root.rglob("*"):
        names = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in names):
            yield "/".join((name, *names)), path


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that shape results, by name."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def machine() -> str:
    """Processor, cores and GPUs of this machine, such as `Linux x86_64, AMD EPYC 7763, 2 cores`."""
    processor, gpus = platform.processor(), []
    with contextlib.suppress(OSError):
        processor = _value("model name", Path("/proc/cpuinfo").read_text()) or processor
        gpus = [_value("Model", each.read_text()) for each in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    parts = [f"{platform.system()} {platform.machine()}", processor, f"{os.cpu_count()} cores", *gpus]
    return ", ".join(part for part in parts if part)


def _value(name: str, text: str) -> str:
    """What stands behind `name:` in a file of /proc."""
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def peak_memory_bytes() -> int:
    """The most memory this process has held at once, in bytes.

    It is read from /proc: `ru_maxrss` would include the parent process that this one was forked from.
    """
    try:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
