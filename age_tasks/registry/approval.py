"""A person's answer to the promotion of a candidate that passed the gate."""

import json
from dataclasses import dataclass

from age_tasks.environment import StageVariables
from age_tasks.errors import SettingsError


@dataclass(frozen=True)
class Approval:
    """The answer to a request for approval."""

    approved: bool
    who: str | None  # None: no answer in time
    why: str
    at: str  # ISO time of the answer, or of the deadline

    @property
    def sentence(self) -> str:
        """The answer in words, such as `refused by ann at 2026-11-24 10:15 UTC: too few children`."""
        time = f"{self.at[:16].replace('T', ' ')} UTC" if self.at else ""
        if self.who is None:
            return "not approved: no answer" + (f" by {time}" if time else "")
        reason = f": {self.why}" if self.why else ""
        return f"{'approved' if self.approved else 'refused'} by {self.who}{f' at {time}' if time else ''}{reason}"


def approval_answer() -> str:
    """`AGE_APPROVAL`, which Airflow's task sets: a JSON object, `{"asked": false}` where no approval was requested."""
    return StageVariables.from_env().approval


def read_approval() -> Approval | None:
    """The answer in `AGE_APPROVAL`; None if no approval was requested. A request without an answer is not approved.

    Raises:
        SettingsError: `AGE_APPROVAL` is not such a JSON object.
    """
    text = approval_answer()
    try:
        given = json.loads(text)
        if not given["asked"]:
            return None
        approved = given.get("approved") is True and bool(given.get("who"))
        return Approval(approved, given.get("who"), given.get("why") or "", given.get("at") or "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"AGE_APPROVAL={text!r} is invalid ({error}); write "
            '{"asked": true, "approved": true, "who": "ann", "why": "", "at": "2026-11-24T10:15:00"}, or leave it unset'
        ) from None
