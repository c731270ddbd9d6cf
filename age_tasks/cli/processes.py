"""Each stage in a process of its own; TensorFlow is loaded for all of them at once, while the first ones work."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path

from age_tasks.pipeline import STAGES

LOADED = STAGES[STAGES.index("baseline") :]
# As Python's own default: on macOS, system libraries don't bear a fork after they were loaded.
FORKS = sys.platform == "linux"


def load_ahead() -> None:
    """Begin to load, in the background, what the stages from the baseline on import: seconds for each of them."""
    if FORKS:
        get_context("forkserver").set_forkserver_preload(["age_tasks.cli.preload"])
        forkserver.ensure_running()


def run_command(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Do `python -m age_tasks` with these arguments and environment in a process of its own, its result unprinted.

    Args:
        arguments: a stage's name and its options.

    Returns:
        Its exit code; negative where a signal ended it.
    """
    process = get_context("forkserver" if FORKS and arguments[0] in LOADED else "spawn").Process(
        target=_command, args=(list(arguments), dict(env))
    )
    process.start()
    process.join()
    return process.exitcode


def _command(arguments: list[str], env: dict[str, str]) -> None:
    from age_tasks.cli.app import main

    os.environ.clear()
    os.environ.update(env)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.exit(main(arguments))
