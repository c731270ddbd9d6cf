"""A person's answer to the promotion of a candidate that passed the gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from age_tasks.environment import StageVariables
from age_tasks.errors import MissingInputError, SettingsError
from age_tasks.store.base import from_json


class _Answer(BaseModel):
    """`AGE_APPROVAL` as it is written. Nothing is guessed."""

    model_config = ConfigDict(strict=True, extra="forbid")

    asked: bool
    approved: Any = None  # only true is an approval
    who: str | None = None
    why: str | None = None
    at: str | None = None
    model: str | None = None
    champion: str | None = None

    @field_validator("at")
    @classmethod
    def _is_a_time(cls, at: str | None) -> str | None:
        if at:
            datetime.fromisoformat(at)
        return at


@dataclass(frozen=True)
class Question:
    """What a person is asked: whether this model may replace this champion.

    Args:
        model: its sha256.
        champion: the version; empty if there is none.
    """

    model: str
    champion: str

    @classmethod
    def about(cls, judged: Mapping[str, Any]) -> "Question":
        """What a summary of the gate is about."""
        champion = judged.get("champion")
        return cls(judged["model"], champion["version"] if champion else "")

    def __str__(self) -> str:
        return f"model {self.model[:12]} against {self.champion or 'no champion'}"


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
    answer = _answer()
    if not answer.asked:
        return None
    return Approval(answer.approved is True and bool(answer.who), answer.who, answer.why or "", answer.at or "")


def require_answer_to(judged: Question) -> None:
    """See to it that the answer in `AGE_APPROVAL` is about what the gate judged, which may have judged anew since.

    An answer without the model, as of version 0.1.0 or written by hand, counts. One with the model although no approval
    was requested says that one is required, and that the gate had refused the model.

    Raises:
        MissingInputError: it is about another model or champion, or nobody was asked since the gate had refused.
        SettingsError: as `read_approval`.
    """
    answer = _answer()
    if answer.model is None:
        return
    asked = Question(answer.model, answer.champion or "")
    if answer.asked and asked == judged:
        return
    before = f"asked about {asked}" if answer.asked else "asked nobody, since the gate had refused"
    raise MissingInputError(f"the task approve {before}, but the gate has passed {judged} since; clear approve too")


def _answer() -> _Answer:
    text = approval_answer()
    try:
        return _Answer.model_validate(from_json(text))
    except ValueError as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, problem["loc"]))
        raise SettingsError(
            f"AGE_APPROVAL={text[:200]!r} is invalid ({where}{': ' if where else ''}{problem['msg']}); write "
            '{"asked": true, "approved": true, "who": "ann", "why": "", "at": "2026-11-24T10:15:00"}, or leave it unset'
        ) from None
