"""The labels to look at of a run, with what people said about them, and the entry that one more says."""

from age_tasks.errors import NotFoundError
from age_tasks.registry.label_confirmations import (
    Label,
    LabelConfirmation,
    confirmation,
    confirmed_labels,
    put_confirmation,
)
from age_tasks.registry.labels_acceptance import one_line
from age_tasks.reports.label_issues_page import LabelIssues
from age_tasks.runs.records import now
from age_tasks.runs.run import StoredRun
from age_tasks.store.base import Store

STAGE, FILE = "evaluate", "labels_to_look_at.json"


def label_issues(run: StoredRun) -> LabelIssues:
    """The list that the run wrote.

    Raises:
        NotFoundError: it has written none.
    """
    return LabelIssues.parse(run.read(STAGE, FILE), run.where(STAGE, FILE))


def confirmations_of(found: LabelIssues, store: Store) -> dict[Label, LabelConfirmation]:
    """The confirmations that count, of the labels in a list."""
    keys = confirmed_labels(store)
    return {issue.label: confirmation(store, keys[issue.label]) for issue in found.issues if issue.label in keys}


def confirm(run: StoredRun, sha256: str, age: str, right: bool, who: str) -> None:
    """Write that a person says that a label of the list is right, or is to be looked at again.

    Raises:
        NotFoundError: the run has no such list, or no such label is in it.
    """
    issue = next((each for each in label_issues(run).issues if each.label == (sha256, age)), None)
    if issue is None:
        raise NotFoundError(f"run {run.key}: no such label is to be looked at; open the run's list again")
    put_confirmation(
        run.store,
        LabelConfirmation(
            sha256=issue.sha256,
            file_name=issue.file_name,
            real_age=issue.real_age,
            right=right,
            run=run.key,
            at=now(),
            who=one_line(who, "the name", "ann"),
        ),
    )
