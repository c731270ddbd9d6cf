"""Building the index of the store anew, from the records and entries that are the truth."""

from age_tasks.registry import decisions, promotions
from age_tasks.runs import index
from age_tasks.store.base import Store


def reindex(store: Store) -> dict[str, int]:
    """Replace the whole index; returns how many of each kind it has now.

    No stage may run at the same time: what it writes meanwhile could be missed, until the next time.
    """
    return {
        "runs": index.rebuild_index(store),
        "decisions": decisions.rebuild_index(store),
        "promotions": promotions.rebuild_index(store),
    }
