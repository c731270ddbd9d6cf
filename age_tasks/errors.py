"""Every error that this package raises on purpose.

AgeTasksError
├── SettingsError    a setting, option or environment variable is wrong
├── LabelsError      the labels or images can't be worked on (exit code 65; trying again won't help)
├── MissingInputError  a stage's inputs aren't there: an earlier stage hasn't finished
├── TooFewNewError   too few labels are new to train again; not a fault: the run ends here
├── WeightsError     pretrained weights can't be had or aren't what they should be
├── DiskFullError    no space left for a result, the cache or a copy
└── StoreError       the store can't be reached or refuses
    └── NotFoundError  no such key in the store
"""


class AgeTasksError(Exception):
    """Base of all; the command line prints its message without a traceback and exits with `exit_code`."""

    exit_code = 1


class SettingsError(AgeTasksError):
    exit_code = 64


class LabelsError(AgeTasksError):
    exit_code = 65


class MissingInputError(AgeTasksError):
    exit_code = 66


class WeightsError(AgeTasksError):
    exit_code = 69


class TooFewNewError(AgeTasksError):
    exit_code = 75


class DiskFullError(AgeTasksError):
    exit_code = 73


class StoreError(AgeTasksError):
    exit_code = 74


class NotFoundError(StoreError):
    pass
