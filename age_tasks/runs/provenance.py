"""What shaped a result: code, versions, machine, memory."""

import contextlib
import hashlib
import json
import os
import platform
import re
import resource
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RECORDED_PACKAGES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scikit-learn",
    "great-expectations",
)


def _fingerprint(name: str, settings: dict, inputs: dict) -> str:
    parts = [name, code_version(), settings, inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_version() -> str:
    """sha256 over everything in the checkout that shapes a result: code, page templates and expectations."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    sources = [*package.rglob("*.py"), *package.rglob("templates/*"), *(package.parent / "expectations").rglob("*.*")]
    for path in sorted(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


@cache
def _machine() -> str:
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


def _peak_memory_bytes() -> int:
    """The most memory this process has held at once. (`ru_maxrss` would include the parent it was forked from.)"""
    try:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
