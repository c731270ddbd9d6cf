"""What a person said to the promotion of a candidate that passed the gate."""

import json
from dataclasses import dataclass

from age_tasks.environment import StageVariables
from age_tasks.errors import SettingsError


@dataclass(frozen=True)
class Approval:
    """The answer to a question that was asked."""

    approved: bool
    who: str | None  # None: nobody answered in time
    why: str
    at: str  # ISO time of the answer, or when the time was up

    @property
    def sentence(self) -> str:
        """The answer in words, such as `refused by ann at 2026-11-24 10:15 UTC: too few children`."""
        at = f" at {self.at[:16].replace('T', ' ')} UTC" if self.at else ""
        if self.who is None:
            return f"nobody had approved it{at}, when the time to answer was up" if at else "nobody had approved it"
        reason = f": {self.why}" if self.why else ""
        return f"{'approved' if self.approved else 'refused'} by {self.who}{at}{reason}"


def answer() -> str:
    """`AGE_APPROVAL`, which Airflow's task sets: a JSON object, `{"asked": false}` where nobody was asked."""
    return StageVariables.from_env().approval


def approval() -> Approval | None:
    """The answer; None if nobody was asked. What is asked and has no answer is not approved.

    Raises:
        SettingsError: `AGE_APPROVAL` is not such a JSON object.
    """
    try:
        given = json.loads(answer())
        if not given["asked"]:
            return None
        approved = given.get("approved") is True and bool(given.get("who"))
        return Approval(approved, given.get("who"), given.get("why") or "", given.get("at") or "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"AGE_APPROVAL={answer()!r} is no answer ({error}); write "
            '{"asked": true, "approved": true, "who": "ann", "why": "", "at": "2026-11-24T10:15:00"}, or leave it unset'
        ) from None
