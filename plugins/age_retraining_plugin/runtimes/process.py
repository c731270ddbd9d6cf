"""A command in a process of its own, beside Airflow."""

import contextlib
import os
import resource
import selectors
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, Context

from age_retraining_plugin.runtimes.outcome import LAST_LINES, CommandFailedError, Outcome
from age_tasks.environment import working_folder


class _CommandInProcess(BaseOperator):
    """Runs the command; `Outcome` is not yet in it."""

    template_fields: Sequence[str] = ("env",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"env": "json"}
    ui_color = "#dcebf0"
    process: "subprocess.Popen[bytes] | None" = None

    def __init__(
        self,
        *,
        command: str,
        env: dict[str, str] | None = None,
        parse: Callable[[str], Any] = str,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.command = command
        self.env = env or {}
        self.parse = parse

    @property
    def command_line(self) -> str:
        """What bash executes."""
        return f"exec {shlex.quote(sys.executable)} -m age_tasks {self.command}"

    def execute(self, context: Context) -> Any:
        """Run the command; the last line on its stdout is the result.

        Raises:
            CommandFailedError: it ended with another exit code than 0.
        """
        # No `with`: where Airflow's time for the task is up, it would wait here, before `on_kill` ends the process.
        self.process = subprocess.Popen(
            ["bash", "-c", self.command_line],
            env={**os.environ, **self.env},
            cwd=str(working_folder()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        result, last = "", deque[str](maxlen=LAST_LINES)
        for of_stdout, line in _lines(self.process):
            last.append(line)
            if of_stdout:  # held back: the last one is the result
                line, result = result, line
            if line:
                self.log.info("%s", line)
        code = self.process.wait()
        if result and (code or not result.startswith("{")):  # what is meant for programs is the XCom, not a line
            self.log.info("%s", result)
        if code:
            raise CommandFailedError(code, list(last), _ended_by(-code) if code < 0 else "")
        return self.parse(result)

    def on_kill(self) -> None:
        """End the process and those that it started when Airflow ends the task."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)


class CommandOperator(Outcome, _CommandInProcess):
    """`python -m age_tasks <command>` in a process of its own.

    Args:
        command: a sub-command and its options. It may name variables of `env` as "$NAME": what people type into a form
            travels by the environment, never as text of a shell line.
        env: variables of the process, beside those of the worker; templated.
        parse: makes the XCom of the last line of output.
        options: of the operator, such as `retries`.
    """


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[tuple[bool, str]]:
    """Each line that the process prints, and whether it is one of stdout."""
    assert process.stdout is not None
    assert process.stderr is not None
    rests = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for stream in rests:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                stream = next(each for each in rests if each is key.fileobj)
                chunk = os.read(key.fd, 65536)
                *whole, rests[stream] = (rests[stream] + chunk).split(b"\n")
                if not chunk:
                    selector.unregister(stream)
                    stream.close()
                    whole = [rests.pop(stream)]
                for line in whole:
                    if text := line.decode(errors="backslashreplace").rstrip():
                        yield stream is process.stdout, text


def _ended_by(number: int) -> str:
    """What a signal means that has ended the process."""
    if number != signal.SIGKILL:
        return f"ended by {signal.Signals(number).name}, as when a person or the system stops it"
    # The largest process that this task has waited for: the one that was killed.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"killed, usually out of memory: peak {peak / 1e9:.1f} GB"
