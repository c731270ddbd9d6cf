"""A person's confirmation that a label is right: it is no longer among the labels to look at.

    labels/confirmed/<sha256 of the image>__<age>__<time>-<suffix>__<right or open>.json    never changed

It holds for this image with this age: if the label or the image changes, it is looked at again. A confirmation is taken
back by a further entry. The newest entry of a label counts; its name says all that lists of labels need.
"""

import secrets
from datetime import UTC, datetime

from age_tasks.store.base import Store
from age_tasks.store.documents import Document

CONFIRMED = "labels/confirmed/"
RIGHT, OPEN = "right", "open"

Label = tuple[str, str]
"""An image's sha256, and its age as `age_text` writes it."""


class LabelConfirmation(Document):
    """Who said of which label, when, that it is right, or, with `right` false, that it is to be looked at again."""

    sha256: str
    file_name: str
    real_age: float
    right: bool
    run: str
    at: str
    who: str


def label_key(sha256: str, real_age: float) -> Label:
    """What identifies a label, whatever its file is called."""
    return sha256, f"{real_age:.10g}"


def put_confirmation(store: Store, confirmation: LabelConfirmation) -> None:
    """Add a confirmation to the store."""
    sha256, age = label_key(confirmation.sha256, confirmation.real_age)
    time = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"
    state = RIGHT if confirmation.right else OPEN
    store.put(f"{CONFIRMED}{sha256}__{age}__{time}__{state}.json", confirmation.to_bytes())


def confirmed_labels(store: Store) -> dict[Label, str]:
    """The labels that people confirmed, each with the key of its newest entry; one listing, no entry is read."""
    newest: dict[Label, str] = {}
    for key in store.list(CONFIRMED):
        parts = key.removeprefix(CONFIRMED).removesuffix(".json").split("__")
        if len(parts) == 4:
            newest[parts[0], parts[1]] = key
    return {label: key for label, key in newest.items() if key.endswith(f"__{RIGHT}.json")}


def confirmation(store: Store, key: str) -> LabelConfirmation:
    """The confirmation with a key of `confirmed_labels`."""
    return LabelConfirmation.parse(store.get(key), store.where(key))
