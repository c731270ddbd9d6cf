"""The champion as an asset: other DAGs start when another model comes into use."""

from typing import Any

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowSkipException

from age_tasks.environment import Locations
from age_tasks.registry.promotions import champion, manifest
from age_tasks.store import open_store

CHAMPION = Asset("age_champion")
# A task updates each asset that it names as an outlet, whatever it did; through an alias it may leave one as it is.
PROMOTED = AssetAlias("age_champion_promoted")


def announce(context: Context, published: dict[str, Any]) -> None:
    """Update the asset if this run has made its candidate the champion.

    Args:
        published: the summary of the stage publish.
    """
    if published.get("promoted") and "reused_from" not in published:
        extra = {name: published[name] for name in ("version", "test_mae", "run")}
        context["outlet_events"][PROMOTED].add(CHAMPION, extra=extra)


def announce_rollback(context: Context, _: Any) -> None:
    """Say in the asset's event which version is in use again, as `announce` does of a new one.

    Raises:
        StoreError: the store can't be read.
    """
    store = open_store(Locations.from_env().store)
    entry = champion(store)
    facts = manifest(store, entry.version)
    context["outlet_events"][CHAMPION].extra = {
        "version": entry.name,
        "test_mae": facts["test_mae"],
        "run": facts["run"],
    }


def skip_without_images(context: Context) -> None:
    """End a task that scores pictures, unless it is said which and whereto.

    Raises:
        AirflowSkipException: names what is missing.
    """
    params = context["params"]
    missing = [
        variable for variable, name in (("AGE_SCORE_IMAGES", "images"), ("AGE_SCORE_OUT", "out")) if not params[name]
    ]
    if missing:
        raise AirflowSkipException(f"nothing to score: set {' and '.join(missing)}, or fill in the form by hand")
