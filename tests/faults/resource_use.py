"""The processor time and memory of a command; other work on the machine does not lengthen processor time."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from age_tasks.environment import PROJECT


@dataclass(frozen=True)
class Used:
    seconds: float
    cpu_seconds: float
    peak_gb: float


def measured(command: Sequence[str], env: Mapping[str, str], code: int = 0) -> Used:
    """Run a command in the checkout with these `AGE_*` variables; it must end with the exit code."""
    began = time.monotonic()
    others = {name: value for name, value in os.environ.items() if not name.startswith("AGE_")}
    process = subprocess.Popen(command, env=others | dict(env), cwd=PROJECT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == code
    cpu = usage.ru_utime + usage.ru_stime
    return Used(round(time.monotonic() - began, 1), round(cpu, 1), round(usage.ru_maxrss * 1024 / 1e9, 2))
