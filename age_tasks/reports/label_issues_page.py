"""The page of the labels to look at: each with its image, name, line, other age, and whether a person confirmed it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from age_tasks.registry.label_confirmations import Label, LabelConfirmation, label_key
from age_tasks.reports.html import render
from age_tasks.store.documents import Document


class LabelIssue(BaseModel):
    """A label that disagrees with the age that a model without this image predicts.

    `line` is that of the labels file; `other_age` in years; `relative_error` is the error divided by the typical error
    at that age; `new` says that the label was not in the list of the run before; `image` is a data URI.
    """

    model_config = ConfigDict(frozen=True)

    file_name: str
    line: int
    sha256: str
    real_age: float
    other_age: float
    relative_error: float
    new: bool
    image: str | None

    @property
    def label(self) -> Label:
        """What identifies the label."""
        return label_key(self.sha256, self.real_age)


class LabelIssues(Document):
    """`labels_to_look_at.json`: the labels that disagree most, the most suspicious first.

    `previous_run` is the run whose list `new` compares with; empty if there is none.
    """

    issues: list[LabelIssue]
    previous_run: str


@dataclass(frozen=True)
class Order:
    """A way to sort the page: what the link says, and the key of an issue."""

    text: str
    key: Callable[[LabelIssue], Any]


ORDERS: dict[str, Order] = {
    "suspicion": Order("most suspicious first", lambda issue: -issue.relative_error),
    "line": Order("line", lambda issue: issue.line),
    "name": Order("file name", lambda issue: issue.file_name),
    "age": Order("age", lambda issue: issue.real_age),
    "difference": Order("largest difference first", lambda issue: -abs(issue.real_age - issue.other_age)),
}
SHOWN = {"open": "to look at", "new": "new since the last run", "confirmed": "confirmed", "all": "all"}


def label_issues_page(
    run_key: str,
    found: LabelIssues,
    confirmed: Mapping[Label, LabelConfirmation],
    show: str,
    order: str,
    token: str,
) -> str:
    """The page's HTML; links are relative to its address in Airflow.

    Args:
        confirmed: the confirmations that count, by label.
        show: a name of `SHOWN`.
        order: a name of `ORDERS`.
        token: what the forms send along; empty for a person who may not confirm.
    """
    is_open = [issue for issue in found.issues if issue.label not in confirmed]
    groups = {
        "open": is_open,
        "new": [issue for issue in is_open if issue.new],
        "confirmed": [issue for issue in found.issues if issue.label in confirmed],
        "all": found.issues,
    }
    return render(
        "label_issues.html.j2",
        run_key=run_key,
        issues=sorted(groups[show], key=ORDERS[order].key),
        counts={name: len(issues) for name, issues in groups.items()},
        confirmed=confirmed,
        previous_run=found.previous_run,
        show=show,
        order=order,
        shown=SHOWN,
        orders={name: each.text for name, each in ORDERS.items()},
        token=token,
    )
