"""Every error that this package raises on purpose.

AgeTasksError
├── SettingsError
├── LabelsError
├── MissingInputError
├── WeightsError
├── AirflowError
├── DiskFullError
├── StoreError
│   ├── NotFoundError
│   ├── DamagedError
│   └── StoreRefusedError
└── TooFewNewError
"""

import re

_MOST = 4_000  # characters of a line
# What starts a new line or changes how a terminal shows the text: controls, separators, direction, half characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# A user and password in an address, up to the last @; also a password with a slash, but no port.
_USER = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:@[]*:(?!\d{1,5}(?:[/'\"]|$))\S*@)")


class AgeTasksError(Exception):
    """An error of the project that has no exit code of its own, such as a training that diverged.

    The command line prints its message without a traceback and exits with `exit_code`. `retry_helps` says whether the
    same command may succeed later without a change by a person.
    """

    exit_code = 1
    retry_helps = True

    def __str__(self) -> str:
        """The message: a line for each argument, whatever the names and values in it contain.

        Characters that no one sees are escaped, users and passwords in addresses left out, and endless values cut.
        """
        return "\n".join(map(_line, self.args))


class SettingsError(AgeTasksError):
    """A setting, an option or an environment variable is invalid."""

    exit_code = 64
    retry_helps = False


class LabelsError(AgeTasksError):
    """The labels or images are invalid."""

    exit_code = 65
    retry_helps = False


class MissingInputError(AgeTasksError):
    """A stage's inputs are missing: an earlier stage has not finished, or its outputs were changed."""

    exit_code = 66
    retry_helps = False


class WeightsError(AgeTasksError):
    """Pretrained weights or a model can't be loaded, or are not what they should be."""

    exit_code = 69
    retry_helps = False


class AirflowError(AgeTasksError):
    """Airflow can't be started (a port is taken, another one runs, memory is short), or has ended by itself."""

    exit_code = 71
    retry_helps = False


class DiskFullError(AgeTasksError):
    """No space is left for a result, the cache or a copy."""

    exit_code = 73


class StoreError(AgeTasksError):
    """The store can't be reached, or refuses a request."""

    exit_code = 74


class NotFoundError(StoreError):
    """The store has no such key."""


class DamagedError(StoreError):
    """A file in the store is not what was written there."""

    exit_code = 76
    retry_helps = False


class StoreRefusedError(StoreError):
    """The store refuses a request until a person changes something, such as a key, an address or a quota."""

    exit_code = 77
    retry_helps = False


class AccessDeniedError(StoreRefusedError):
    """The keys are not accepted, or may not do this."""


class TooFewNewError(AgeTasksError):
    """Too few images are new since the last training. Not a fault: the run ends here."""

    exit_code = 75
    retry_helps = False


def without_user(text: str) -> str:
    """The text with the users and passwords removed from the addresses in it."""
    return _USER.sub("", text)


def one_line(text: str) -> str:
    """The text with characters escaped that no one sees, or that start a new line."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def _line(problem: object) -> str:
    line = one_line(without_user(str(problem)))
    return line if len(line) <= _MOST else f"{line[: _MOST // 2]} … {line[-_MOST // 2 :]}"
