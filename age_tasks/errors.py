"""Every error that this package raises on purpose.

AgeTasksError
├── SettingsError
├── LabelsError
├── MissingInputError
├── WeightsError
├── DiskFullError
├── StoreError
│   ├── NotFoundError
│   └── StoreRefusedError
└── TooFewNewError
"""


class AgeTasksError(Exception):
    """An error of the project that has no exit code of its own, such as a training that diverged.

    The command line prints its message without a traceback and exits with `exit_code`. `retry_helps` says whether the
    same command may succeed later without a change by a person.
    """

    exit_code = 1
    retry_helps = True


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


class DiskFullError(AgeTasksError):
    """No space is left for a result, the cache or a copy."""

    exit_code = 73


class StoreError(AgeTasksError):
    """The store can't be reached, or refuses a request."""

    exit_code = 74


class NotFoundError(StoreError):
    """The store has no such key."""


class StoreRefusedError(StoreError):
    """The store refuses a request until a person changes something, such as a key, an address or a quota."""

    exit_code = 77
    retry_helps = False


class TooFewNewError(AgeTasksError):
    """Too few images are new since the last training. Not a fault: the run ends here."""

    exit_code = 75
    retry_helps = False
