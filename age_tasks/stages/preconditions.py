"""Whether enough labels are new since the last training."""

import logging

import pandas as pd

from age_tasks.errors import TooFewNewError
from age_tasks.runs.listing import previous_run
from age_tasks.runs.run import Workspace

log = logging.getLogger(__name__)


def require_new_labels(run: Workspace, at_least: int) -> None:
    """Go on only if that many accepted pictures were unknown to the newest other run that finished a training.

    Raises:
        TooFewNewError: there are fewer; says how many.
    """
    trained = previous_run(run, "finetune") if at_least else None
    if trained is None:
        return
    new = count_new(run, trained)
    if new < at_least:
        raise TooFewNewError(
            f"{new} new labels since run {trained.key} was trained; at least {at_least} are wanted "
            "(data.min_new_labels). Nothing is trained; to train all the same, start a run with `again`"
        )
    log.info("%d new labels since run %s was trained", new, trained.key)


def count_new(run: Workspace, trained: Workspace) -> int:
    """How many different pictures that `run` accepted had never been dealt when `trained` was, by their content."""
    accepted = pd.read_csv(run.input("validate", "accepted.csv"), usecols=["sha256"])["sha256"]
    dealt = pd.read_csv(trained.input("split", "assignments.csv"), usecols=["sha256"])["sha256"]
    return len(set(accepted) - set(dealt))
