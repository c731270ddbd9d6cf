"""Commands in child processes; TensorFlow is loaded for all of them at once, while the first ones work."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path

from age_tasks.pipeline import PIPELINE, STAGES

Main = Callable[[list[str]], int]

# From the first stage that imports TensorFlow on, all are forked from a process that has imported it: a fork is quick,
# also for those in between that don't need it.
PRELOADED = STAGES[next(place for place, stage in enumerate(PIPELINE.values()) if stage.tensorflow) :]
# As Python's own default: on macOS, system libraries don't survive a fork after they were loaded.
FORKS = sys.platform == "linux"


def preload() -> None:
    """Begin to import, in the background, what the stages in `PRELOADED` need: seconds for each of them."""
    if FORKS:
        get_context("forkserver").set_forkserver_preload(["age_tasks.cli.preload"])
        forkserver.ensure_running()


def run_isolated(function: Main, arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Call a function in a child process with its own environment and with stdout discarded.

    Args:
        function: a function of a module; its result is the exit code.
        arguments: a stage's name and its options.
        env: the whole environment of the child process.

    Returns:
        The exit code; negative where a signal ended the process.
    """
    context = get_context("forkserver") if FORKS and arguments[0] in PRELOADED else get_context("spawn")
    process = context.Process(target=_call, args=(function, list(arguments), dict(env)))
    process.start()
    process.join()
    assert process.exitcode is not None  # it has been joined
    return process.exitcode


def _call(function: Main, arguments: list[str], env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.exit(function(arguments))
