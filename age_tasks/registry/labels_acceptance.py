"""A person's acceptance of labels whose ages are distributed differently from those accepted before.

    labels/accepted/<sha256 of the frozen labels>/<time>-<suffix>.json    one object for each acceptance, never changed

It holds for exactly these labels: the file `labels.csv` that a snapshot froze. If several people accept the same labels
at the same moment, all their objects stay, and the first by name counts.
"""

import re
import secrets
from datetime import UTC, datetime

from age_tasks.errors import SettingsError
from age_tasks.store.base import Store
from age_tasks.store.documents import Document

ACCEPTED = "labels/accepted/"
LONGEST = 1000  # characters of a name or a reason
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


class LabelsAcceptance(Document):
    """Who accepted which labels, when and why; `run` was refused for them, `distance` from `previous_run`."""

    labels_sha256: str
    run: str
    previous_run: str
    distance: float
    at: str
    who: str
    why: str

    @property
    def sentence(self) -> str:
        """Such as `accepted by ann at 2026-11-24 10:15 UTC: from now on adults only`."""
        return f"accepted by {self.who} at {self.at[:16].replace('T', ' ')} UTC: {self.why}"


def put_acceptance(store: Store, acceptance: LabelsAcceptance) -> None:
    """Add an acceptance to the store."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.json"
    store.put(f"{acceptance_folder(acceptance.labels_sha256)}{name}", acceptance.to_bytes())


def acceptance_of(store: Store, labels_sha256: str) -> LabelsAcceptance | None:
    """The first acceptance of these labels; None if nobody has accepted them."""
    key = next((entry.key for entry in store.entries(acceptance_folder(labels_sha256))), None)
    return LabelsAcceptance.parse(store.get(key), store.where(key)) if key else None


def acceptance_folder(labels_sha256: str) -> str:
    """The folder of the acceptances of these labels, ending in `/`."""
    return f"{ACCEPTED}{labels_sha256}/"


def one_line(text: str, option: str, example: str) -> str:
    """A text of a person as one line, without characters that nobody sees.

    Args:
        option: where it was given, for the error.
        example: of what to write.

    Raises:
        SettingsError: nothing is left of it, or it is too long.
    """
    line = " ".join(_HIDDEN.sub(" ", text).split())
    if not line:
        raise SettingsError(f"{option} {text[:40]!r} is empty; write for example {option} '{example}'")
    if len(line) > LONGEST:
        raise SettingsError(f"{option} has {len(line)} characters; shorten it to {LONGEST}")
    return line
