"""The precondition of a training: enough new labels since the last one."""

import logging

import pandas as pd

from age_tasks.errors import TooFewNewError
from age_tasks.runs.listing import previous_run
from age_tasks.runs.run import Workspace

log = logging.getLogger(__name__)


def require_new_labels(run: Workspace, at_least: int) -> None:
    """Check that enough accepted images are new since the newest other run that finished a training.

    Args:
        at_least: new images; 0 checks nothing.

    Raises:
        TooFewNewError: there are fewer; the message gives their number.
    """
    trained = previous_run(run, "finetune") if at_least else None
    if trained is None:
        return
    new = count_new(run, trained)
    if new < at_least:
        raise TooFewNewError(
            f"{new} new labels since run {trained.key} was trained; at least {at_least} are required "
            "(data.min_new_labels). Nothing is trained; to train anyway, lower that, or start a run with `again`"
        )
    log.info("%d new labels since run %s was trained", new, trained.key)


def count_new(run: Workspace, trained: Workspace) -> int:
    """The number of images, by content, that `run` accepted and that had no assignment when `trained` was trained."""
    accepted = pd.read_csv(run.input("validate", "accepted.csv"), usecols=["sha256"])["sha256"]
    assigned = pd.read_csv(trained.input("split", "assignments.csv"), usecols=["sha256"])["sha256"]
    return len(set(accepted) - set(assigned))
