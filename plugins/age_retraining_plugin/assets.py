"""The champion as an asset: other DAGs start when it changes."""

from typing import Any

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowSkipException

from age_retraining_plugin.trigger_conf import refuse_invalid
from age_tasks.environment import Locations
from age_tasks.registry.promotions import champion, manifest
from age_tasks.store import open_store

CHAMPION = Asset("age_champion")
# A task that succeeds updates every asset among its outlets. Through an alias, it can update the asset or not.
CHAMPION_ALIAS = AssetAlias("age_champion_promoted")


def emit_champion_event(context: Context, published: dict[str, Any]) -> None:
    """Update the asset if this run promoted its candidate; the task's `post_execute`.

    Args:
        published: the summary of the stage publish.
    """
    if published.get("promoted") and "reused_from" not in published:
        extra = {name: published[name] for name in ("version", "test_mae", "run")}
        context["outlet_events"][CHAMPION_ALIAS].add(CHAMPION, extra=extra)


def emit_rollback_event(context: Context, _: Any) -> None:
    """Describe the restored version in the asset's event; the task's `post_execute`.

    Raises:
        StoreError: the store can't be read.
    """
    store = open_store(Locations.from_env().store)
    if (entry := champion(store)) is None:  # can't be after a rollback
        return
    facts = manifest(store, entry.version)
    context["outlet_events"][CHAMPION].extra = {
        "version": entry.name,
        "test_mae": facts.test_mae,
        "run": facts.run,
    }


def skip_without_images(context: Context) -> None:
    """Skip a task that scores images if the images or the output are not named; the task's `pre_execute`.

    Raises:
        AirflowSkipException: names the variables to set.
        TaskFailedForGood: the conf has a name that nothing reads, such as a misspelt one of these.
    """
    refuse_invalid(context)
    params = context["params"]
    missing = [
        variable for variable, name in (("AGE_SCORE_IMAGES", "images"), ("AGE_SCORE_OUT", "out")) if not params[name]
    ]
    if missing:
        raise AirflowSkipException(f"nothing to score: set {' and '.join(missing)}, or fill in the trigger form")


def skip_without_unlabelled(context: Context) -> None:
    """Skip a task that ranks images without labels if none are named; the task's `pre_execute`.

    Raises:
        AirflowSkipException: names the variable to set.
        TaskFailedForGood: the conf has a name that nothing reads.
    """
    refuse_invalid(context)
    if not context["params"]["unlabelled"]:
        raise AirflowSkipException("nothing to rank: set AGE_UNLABELLED, or fill in the trigger form")
