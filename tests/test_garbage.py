"""Python's search for garbage during imports and at the end; each case in a process of its own."""

import subprocess
import sys

import pytest

from age_tasks.environment import PROJECT

CIRCLE = """
import gc
class Circle:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("found")
"""


def printed(code: str) -> list[str]:
    """The lines that a program prints."""
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_while_a_block_imports_no_garbage_is_looked_for_and_afterwards_it_is():
    code = CIRCLE + (
        "from age_tasks.garbage import no_search\n"
        "with no_search():\n"
        "    left = [Circle() for _ in range(5_000)]; del left; print('left')\n"
        "print('end')\n"
    )
    assert printed(code) == ["left", *["found"] * 5_000, "end"]


def test_a_process_that_looked_for_no_garbage_looks_for_none_afterwards():
    code = "import gc; from age_tasks.garbage import no_search; gc.disable()\nwith no_search(): pass"
    assert printed(f"{code}\nprint(gc.isenabled())") == ["False"]


@pytest.mark.parametrize(("call", "lines"), [("", ["found"]), ("no_search_at_end()", []), ("search_rarely()", [])])
def test_the_end_of_a_process_looks_for_garbage_only_if_nobody_said_otherwise(call: str, lines: list[str]):
    assert printed(f"{CIRCLE}from age_tasks.garbage import *\n{call}\nleft = Circle(); del left") == lines


def test_a_program_is_run_with_its_arguments_and_its_exit_code():
    command = [sys.executable, "-m", "age_tasks.garbage", "tests.programs.its_arguments", "--some", "words"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()) == (3, ["its_arguments.py", "--some", "words", "100000"])
