"""What lists of versions show of each: read from its manifest and metrics once, and kept in the index."""

import contextlib
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from age_tasks.errors import DamagedError
from age_tasks.store.documents import Document


class MaeInterval(BaseModel):
    """A test MAE with its 95 % interval, in years."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class AgainstChampion(BaseModel):
    """Candidate and champion on the same test images, in years; `low` to `high` is for their difference, at 95 %."""

    model_config = ConfigDict(frozen=True)

    name: str
    candidate_mae: float
    champion_mae: float
    low: float
    high: float


class VersionFacts(BaseModel):
    """Facts of a published version.

    Args:
        lost: why its manifest can't be read, `removed` or `damaged`; empty if it can. The other fields are then empty.
        run: the run that trained it.
        test_mae: years.
        model_sha256: of `model.keras`.
        mae, champion: from its metrics, None if these are gone or there was no champion.
    """

    model_config = ConfigDict(frozen=True)

    lost: str = ""
    run: str | None = None
    test_mae: float | None = None
    model_sha256: str = ""
    mae: MaeInterval | None = None
    champion: AgainstChampion | None = None


class _FineTuned(BaseModel):
    mae: MaeInterval


class _Metrics(Document):
    """As much of `metrics.json` as is needed here."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    finetune: _FineTuned
    champion: AgainstChampion | None = None


def measured(metrics: bytes | None) -> dict[str, MaeInterval | AgainstChampion | None]:
    """`mae` and `champion` of the facts, from the content of `metrics.json`; nothing if there is none that is valid."""
    if metrics is not None:
        with contextlib.suppress(DamagedError):
            found = _Metrics.parse(metrics, "metrics.json")
            return {"mae": found.finetune.mae, "champion": found.champion}
    return {}
