"""Python's garbage collection, kept out of imports and of the end of a process.

The collector looks for unreachable reference cycles: among new objects after every 700 that are made, now and then
among all, and once more when the interpreter exits. The imports of a stage, or of Airflow, make millions of objects
that all stay, so that a third of their time goes into collections that find nothing.

As a program, it runs another one so: `python -m age_tasks.garbage_collection airflow dags list`.
"""

import atexit
import contextlib
import gc
import runpy
import sys
from collections.abc import Iterator

_RARELY = (100_000, 50, 100)  # thresholds of the three generations, see `gc.set_threshold`


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection in the block, which imports."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def skip_collection_at_exit() -> None:
    """No garbage collection when this process exits: its memory is freed with it."""
    atexit.register(gc.freeze)


def collect_rarely() -> None:
    """Few garbage collections, and none at exit: for a process that soon ends, and imports much in many places."""
    gc.set_threshold(*_RARELY)
    skip_collection_at_exit()


if __name__ == "__main__":
    collect_rarely()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
