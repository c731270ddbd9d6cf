"""Commands in child processes; TensorFlow is loaded for all of them at once, while the first ones work."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

from age_tasks.pipeline import PIPELINE, STAGES

Main = Callable[[list[str]], int]

# From the first stage that imports TensorFlow on, all are forked from a process that has imported it: a fork is quick,
# also for those in between that don't need it.
PRELOADED = STAGES[next(place for place, stage in enumerate(PIPELINE.values()) if stage.tensorflow) :]
# As Python's own default: on macOS, system libraries don't survive a fork after they were loaded.
FORKS = sys.platform == "linux"
GRACE_SECONDS = 10  # for a command to end by itself, after Ctrl-C


def preload() -> None:
    """Begin to import, in the background, what the stages in `PRELOADED` need: seconds for each of them."""
    if FORKS:
        get_context("forkserver").set_forkserver_preload(["age_tasks.cli.preload"])
        forkserver.ensure_running()


def run_isolated(function: Main, arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Call a function in a child process with its own environment and with stdout discarded.

    The child process does not outlive this one: SIGTERM and Ctrl-C end both, the child first.

    Args:
        function: a function of a module; its result is the exit code.
        arguments: a stage's name and its options.
        env: the whole environment of the child process.

    Returns:
        The exit code; negative where a signal ended the child process, or SIGTERM was sent to this one.

    Raises:
        KeyboardInterrupt: Ctrl-C; the child process has ended.
    """
    context = get_context("forkserver") if FORKS and arguments[0] in PRELOADED else get_context("spawn")
    process = context.Process(target=_call, args=(function, list(arguments), dict(env)))
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True
        if process.pid:
            process.terminate()

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        process.start()
        if terminated:  # before it had a number
            process.terminate()
        process.join()
    except KeyboardInterrupt:
        _end(process)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    assert process.exitcode is not None  # it has been joined
    return -signal.SIGTERM if terminated else process.exitcode


def _end(process: BaseProcess) -> None:
    """End a process that a terminal has interrupted together with this one, or has not where only this one was."""
    if process.pid:
        with contextlib.suppress(KeyboardInterrupt):  # once more: then at once
            process.join(GRACE_SECONDS)
        process.terminate()
        process.join()


def _call(function: Main, arguments: list[str], env: dict[str, str]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(env)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.exit(function(arguments))


def _end_with_parent() -> None:
    """End this process when its parent was ended by a signal that it can't handle."""
    parent = parent_process()
    assert parent is not None  # this runs in a child process only
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
