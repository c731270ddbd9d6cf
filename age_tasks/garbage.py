"""Python's search for garbage, kept out of the start and the end of a process.

Python looks for objects that refer to each other and to which nothing else refers: among new ones after every 700 that
are made, now and then among all, and once more at the end. The imports of a stage, or of Airflow, make millions of
objects that all stay, so that a third of their time is spent on finding nothing.

As a program, it runs another one so: `python -m age_tasks.garbage airflow dags list`.
"""

import atexit
import contextlib
import gc
import runpy
import sys
from collections.abc import Iterator

_RARELY = (100_000, 50, 100)  # new objects until the new ones are searched, then those left so often, then all


@contextlib.contextmanager
def no_search() -> Iterator[None]:
    """Look for no garbage in the block, which imports."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def no_search_at_end() -> None:
    """Don't look for garbage when this process ends: what it holds is freed with it."""
    atexit.register(gc.freeze)


def search_rarely() -> None:
    """Look for garbage rarely, and not at the end: for a process that ends soon, and imports much at many places."""
    gc.set_threshold(*_RARELY)
    no_search_at_end()


if __name__ == "__main__":
    search_rarely()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
