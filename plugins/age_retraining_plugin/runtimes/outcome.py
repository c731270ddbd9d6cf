"""What the exit code of a command means to Airflow, the same in every runtime."""

from collections.abc import Iterator
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from age_retraining_plugin.stage_metrics import send_numbers
from age_tasks.errors import AgeTasksError, TooFewNewError

INVALID_COMMAND_LINE = 2


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
        message: what Airflow's log shows; its last line is the last line that the command printed.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Outcome(BaseOperator):
    """What becomes of a task whose `execute` raises `CommandFailedError`; goes before the operator of a runtime.

    Too few new images skip the task and those after it, with the reason as the XCom. A failure that a retry can't help
    fails the task at once. Any other failure is retried as the task says.
    """

    def execute(self, context: Context) -> Any:
        """Run the command; its summary is the XCom, and its numbers are sent as metrics."""
        try:
            summary = super().execute(context)
        except CommandFailedError as failure:
            if failure.exit_code in SKIP_EXIT_CODES:
                reason = str(failure).splitlines()[-1]
                context["ti"].xcom_push(key="return_value", value={"skipped": reason})
                raise AirflowSkipException(reason) from None
            if failure.exit_code in NON_RETRYABLE_EXIT_CODES:
                raise AirflowFailException(f"{failure}\nA retry of {self.task_id} can't help.") from None
            raise
        send_numbers(self.task_id, summary)
        return summary
