"""What a version has learned: from its own training images, and by warm starts from those of its ancestors."""

import io
from collections.abc import Mapping

import pandas as pd

from age_tasks.errors import NotFoundError
from age_tasks.registry.promotions import VERSIONS
from age_tasks.store.base import Store

ANCESTOR = "ancestor"  # in the column `split`: only a version that this one started from has learned the image
COLUMNS = ["sha256", "real_age", "split"]


def trained_on_of(store: Store, version: str) -> pd.DataFrame:
    """The images behind a published version: columns sha256, real_age (years), split.

    The split is `train`, `val` or `test`, or `ancestor`; versions of 0.1.0 have none of the last. No rows if the
    version lists no images.
    """
    try:
        content = store.get(f"{VERSIONS}{version}/trained_on.csv")
    except NotFoundError:
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(io.BytesIO(content))


def learned(trained_on: pd.DataFrame) -> pd.DataFrame:
    """The rows of the images that shaped the weights of a version, its ancestors' included."""
    return trained_on[trained_on["split"].isin(["train", ANCESTOR])]


def own_images(trained_on: pd.DataFrame) -> pd.DataFrame:
    """The rows of the images in a version's own splits."""
    return trained_on[trained_on["split"] != ANCESTOR]


def with_ancestors(splits: Mapping[str, pd.DataFrame], start: pd.DataFrame | None = None) -> pd.DataFrame:
    """The images that a version was made from, as `trained_on_of` returns them.

    Args:
        splits: its own, by name: columns sha256, real_age (years).
        start: the images behind the version that it started from; None if it started from none.
    """
    own = pd.concat([table[["sha256", "real_age"]].assign(split=name) for name, table in splits.items()])
    if start is None:
        return own
    before = learned(start)
    before = before.loc[~before["sha256"].isin(own["sha256"]), COLUMNS].assign(split=ANCESTOR)
    return pd.concat([own, before]) if len(before) else own
