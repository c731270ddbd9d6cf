"""Commands forked from one process that has imported what stages need, while a command lives that executes many.

`airflow dags test` executes all tasks of a DAG in one process, and each starts `python -m age_tasks <stage>`. Importing
TensorFlow, Great Expectations and Matplotlib takes each of these seconds. So a server imports them once, while Airflow
starts. `python -m age_tasks` then sends its arguments, environment and standard streams to the server, which forks a
process that does the work, and ends as that has ended.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from age_tasks.garbage_collection import collection_paused

ADDRESS = "_AGE_TASKS_SERVER"  # the variable with the path of the server's socket; only our own processes set it
FORKS = sys.platform == "linux"
# In the order in which a run needs them. A command that comes earlier imports the rest itself.
IMPORTS = (
    "age_tasks.cli.app",
    "age_tasks.stages.snapshot",
    "age_tasks.stages.validate",
    "great_expectations",  # which `validate` imports late
    "age_tasks.stages.split",
    "age_tasks.stages.baseline",
    "age_tasks.stages.finetune",
    "age_tasks.stages.evaluate",
    "age_tasks.stages.publish",
)
_FOUR_BYTES = 4
_INTERRUPTED = 128 + signal.SIGINT  # as the command line ends with, where it is not forked


def start_server(imports: Sequence[str] = IMPORTS) -> dict[str, str]:
    """Start a server that lives as long as this process, whatever program it becomes.

    Args:
        imports: the modules that it imports, one at least.

    Returns:
        The variables by which commands find it; none where a fork is not safe after such imports.
    """
    if not FORKS:
        return {}
    path = Path(tempfile.mkdtemp(prefix="age-")) / "server"  # a folder that others may not enter
    alive, of_this_process = os.pipe()  # the server reads its end when this process has ended
    os.set_inheritable(of_this_process, True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        code = f"from age_tasks.cli.forks import serve; serve({listener.fileno()}, {alive}, {str(path)!r}, {imports!r})"
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what it can't import, the stage that needs it can't either, and says so
            pass_fds=(listener.fileno(), alive),
            start_new_session=True,  # Ctrl-C is for Airflow
        )
    os.close(alive)
    return {ADDRESS: str(path)}


def forked(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> int | None:
    """Let the server execute a command in a process of its own, with this process's streams and folder.

    A signal that ends that process ends this one too. SIGTERM and Ctrl-C, sent to this process, end that one first.

    Args:
        arguments: of the command line.
        env: the environment of the command; with the address of the server, if there is one.

    Returns:
        The exit code; None if there is no server.
    """
    if not (path := env.get(ADDRESS)):
        return None
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
        except OSError:  # it has ended
            return None
        request = json.dumps({"arguments": list(arguments), "env": dict(env), "folder": str(Path.cwd())}).encode()
        socket.send_fds(server, [len(request).to_bytes(_FOUR_BYTES)], [0, 1, 2])
        server.sendall(request)
        try:
            answer = _answer_from(server)
        except KeyboardInterrupt:
            return _INTERRUPTED
    if not answer:
        print("the process that forks stages has ended", file=sys.stderr)
        return 1
    code = int.from_bytes(answer, signed=True)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL needs no such thing, and takes none
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _answer_from(server: socket.socket) -> bytes:
    """What the server says when the forked process has ended; a signal to this process ends that one first."""

    def end(*_: object) -> None:
        server.shutdown(socket.SHUT_WR)  # as the forked process sees it, this one has ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        return server.recv(_FOUR_BYTES)
    except KeyboardInterrupt:
        end()
        server.recv(_FOUR_BYTES)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(listener: int, alive: int, path: str, imports: Sequence[str]) -> None:
    """Import modules, and fork a process for each command, until the other end of `alive` is closed.

    Args:
        listener: the descriptor of the socket.
        alive: that of a pipe.
        path: of the socket, whose folder is removed at the end.
        imports: the modules; the first, which every command needs, is imported before one is taken, the others while
            none waits.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # as the command line does
    first, *missing = imports
    with collection_paused():
        importlib.import_module(first)
    with socket.socket(fileno=listener) as server, selectors.DefaultSelector() as selector:
        for each in (listener, alive):
            selector.register(each, selectors.EVENT_READ)
        while True:
            ready = selector.select(0 if missing else None)
            if not ready:
                with contextlib.suppress(Exception), collection_paused():
                    importlib.import_module(missing.pop(0))
                gc.freeze()  # a collection in a fork would visit, and so copy, all that was imported
            for key, _ in ready:
                if key.fd == alive:
                    shutil.rmtree(Path(path).parent, ignore_errors=True)
                    return
                if key.fd == listener:
                    _fork(server, selector)
                else:
                    selector.unregister(key.fd)
                    _answer(key.fd, *key.data)


def _fork(server: socket.socket, selector: selectors.BaseSelector) -> None:
    client, _ = server.accept()
    if pid := os.fork():
        selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, client))
        return
    server.close()
    selector.close()
    _execute(client)


def _answer(descriptor: int, pid: int, client: socket.socket) -> None:
    """Tell the client how its process has ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(descriptor)
    with client, contextlib.suppress(OSError):  # nobody waits any more
        client.sendall(code.to_bytes(_FOUR_BYTES, signed=True))


def _execute(client: socket.socket) -> NoReturn:
    """Execute the command that the client sends, and end this process with its exit code."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        length, streams, *_ = socket.recv_fds(client, _FOUR_BYTES, 3)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        with client.makefile("rb") as sent:
            request = json.loads(sent.read(int.from_bytes(length)))
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["folder"])
        threading.Thread(target=_end_with, args=(client,), daemon=True).start()
        command_line = importlib.import_module("age_tasks.cli.app")  # which imports this module
        code = command_line.main(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)  # without the seconds that it takes to take TensorFlow down


def _end_with(client: socket.socket) -> None:
    """End this process, and those that it started, when the client has ended."""
    if not client.recv(1):
        os.killpg(0, signal.SIGTERM)
