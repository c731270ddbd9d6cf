"""Garbage collection during imports and at exit; each case in a process of its own."""

import subprocess
import sys

import pytest

from age_tasks.environment import PROJECT

CYCLE = """
import gc
class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("found")
"""


def printed(code: str) -> list[str]:
    """The lines that a program prints."""
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_garbage_is_collected_after_a_block_and_not_in_it():
    code = CYCLE + (
        "from age_tasks.garbage_collection import collection_paused\n"
        "with collection_paused():\n"
        "    left = [Cycle() for _ in range(5_000)]; del left; print('left')\n"
        "print('end')\n"
    )
    assert printed(code) == ["left", *["found"] * 5_000, "end"]


def test_a_process_without_garbage_collection_has_none_afterwards():
    code = "import gc; from age_tasks.garbage_collection import collection_paused; gc.disable()"
    assert printed(f"{code}\nwith collection_paused(): print(gc.isenabled())\nprint(gc.isenabled())") == ["False"] * 2


@pytest.mark.parametrize(
    ("call", "lines"), [("", ["found"]), ("skip_collection_at_exit()", []), ("collect_rarely()", [])]
)
def test_garbage_is_collected_at_exit_only_if_that_is_not_skipped(call: str, lines: list[str]):
    assert printed(f"{CYCLE}from age_tasks.garbage_collection import *\n{call}\nleft = Cycle(); del left") == lines


def test_a_program_is_run_with_its_arguments_and_its_exit_code():
    command = [sys.executable, "-m", "age_tasks.garbage_collection", "tests.programs.its_arguments", "--some", "words"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()) == (3, ["its_arguments.py", "--some", "words", "100000"])
