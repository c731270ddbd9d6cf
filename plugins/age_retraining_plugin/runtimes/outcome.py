"""What the exit code of a command means to Airflow, the same in every runtime."""

from collections.abc import Iterator, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from age_retraining_plugin.stage_metrics import send_numbers
from age_tasks.errors import AgeTasksError, TooFewNewError

INVALID_COMMAND_LINE = 2
LAST_LINES = 50  # of a command's output, among which the cause of its failure is


def _errors(base: type[AgeTasksError]) -> Iterator[type[AgeTasksError]]:
    for error in base.__subclasses__():
        yield error
        yield from _errors(error)


SKIP_EXIT_CODES = frozenset({TooFewNewError.exit_code})
NON_RETRYABLE_EXIT_CODES = (
    frozenset(error.exit_code for error in _errors(AgeTasksError) if not error.retry_helps) | {INVALID_COMMAND_LINE}
) - SKIP_EXIT_CODES


class CommandFailedError(AirflowException):
    """A command ended with an exit code other than 0.

    Args:
        exit_code: of the command; negative for a signal.
        lines: the last lines that it printed.
        known: what the runtime knows of the cause, such as that memory was short; empty where it knows nothing.
    """

    def __init__(self, exit_code: int, lines: Sequence[str], known: str = "") -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code
        self._lines, self._known = lines, known

    def cause(self, command: str) -> str:
        """The cause in one sentence: what the runtime knows of it, or what the command itself said last.

        Args:
            command: its name, which the line with its error begins with.
        """
        return (self._known and f"{command}: {self._known}") or _said(command, self._lines)


class TaskFailed(SystemExit):
    """Fails the task, which may be tried again.

    The cause is outside of Airflow: its log then ends with one line that has the cause, without a traceback.

    Args:
        cause: a sentence.
    """


class TaskFailedForGood(TaskFailed):
    """Fails the task at once, since a retry can't help."""


NO_USELESS_RETRY = ExceptionRetryPolicy([RetryRule(exception=TaskFailedForGood, action=RetryAction.FAIL)])


class Outcome(BaseOperator):
    """What becomes of a task whose `execute` raises `CommandFailedError`; goes before the operator of a runtime.

    Too few new images skip the task and those after it, with the reason as the XCom. A failure that a retry can't help
    fails the task at once. Any other failure is retried as the task says, also one to start the command.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"retry_policy": NO_USELESS_RETRY, **options})

    def execute(self, context: Context) -> Any:
        """Run the command; its summary is the XCom, and its numbers are sent as metrics."""
        try:
            summary = super().execute(context)
        except CommandFailedError as failure:
            cause, code = failure.cause(self.task_id), failure.exit_code
            if code in SKIP_EXIT_CODES:
                context["ti"].xcom_push(key="return_value", value={"skipped": cause})
                raise AirflowSkipException(cause) from None
            kind = TaskFailedForGood if code in NON_RETRYABLE_EXIT_CODES else TaskFailed
            raise kind(f"{cause} (exit code {code})") from None
        except AirflowSkipException:
            raise
        except AirflowException as error:  # of an engine or a cluster that does not do what it is asked to
            raise TaskFailed(str(error)) from None
        send_numbers(self.task_id, summary)
        return summary


def _said(command: str, lines: Sequence[str]) -> str:
    """The line of a command's output that says why it ended: the error it ends with, or else its last line."""
    begins = f"{command}: "
    found = [place for place, line in enumerate(lines) if line.startswith(begins)]
    last, *details = [line.strip() for line in lines[found[-1] if found else -1 :]] or [f"{begins}it printed nothing"]
    if last.endswith(":") and details:  # "the labels were refused:" has its reasons on lines of their own
        last = f"{last} {details[0]}"
    return last
