"""What to label next: the newest ranking of unlabelled images by the champion.

labels/next/tasks.json      as tasks for Label Studio
labels/next/next.csv        as a table, with an empty column real_age to fill in
labels/next/ranking.json    written last; replaces the ranking before
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from age_tasks.errors import NotFoundError
from age_tasks.store.base import Store
from age_tasks.store.documents import Document

NEXT = "labels/next/"
RANKING, TASKS, TABLE = "ranking.json", "tasks.json", "next.csv"


class RankedImage(BaseModel):
    """An image to label: predicted age and interval in years; `distance` from all labelled and earlier ranked images.

    A distance of 1 is the usual one between labelled images. `image` is a data URI, of the first images only.
    """

    model_config = ConfigDict(frozen=True)

    file_name: str
    sha256: str
    age: float
    low: float
    high: float
    distance: float
    image: str | None = None


class LabelRanking(Document):
    """Which images to label next, by which version, out of how many that are not labelled, and unlike which run's.

    Left out are those that are `unreadable`, and those whose name is `taken` by a labelled image.
    """

    if_lost: ClassVar[str] = "rank again: `age-tasks label-next`"

    version: str
    run: str
    unlabelled: str
    images: int
    unreadable: int
    taken: int = 0
    at: str
    ranked: list[RankedImage]


def put_ranking(store: Store, ranking: LabelRanking, tasks: bytes, table: bytes) -> None:
    """Replace the ranking in the store."""
    store.put(NEXT + TASKS, tasks)
    store.put(NEXT + TABLE, table)
    store.put(NEXT + RANKING, ranking.to_bytes())


def newest_ranking(store: Store) -> LabelRanking | None:
    """The ranking in the store; None before the first."""
    key = NEXT + RANKING
    try:
        return LabelRanking.parse(store.get(key), store.where(key))
    except NotFoundError:
        return None
