"""What becomes of the conf of a run."""

from types import SimpleNamespace
from typing import Any, cast

from age_retraining_plugin.form import retraining_form
from age_retraining_plugin.trigger_conf import changed_settings, refuse_unknown
from airflow.sdk import Context
from airflow.sdk.definitions.param import ParamsDict


def context(conf: dict[str, Any] | None, params: dict[str, Any] | None = None) -> Context:
    """The context of the first task as Airflow makes it of a conf."""
    form = ParamsDict(cast(dict[str, Any], retraining_form()))
    merged = {**form.dump(), **(conf or {})} if params is None else params
    run = SimpleNamespace(conf=conf)
    return cast(Context, {"params": merged, "dag": SimpleNamespace(params=form), "dag_run": run})


def applied(conf: dict[str, Any]) -> dict[str, Any]:
    """The settings that reach the first stage."""
    given = context(conf)
    refuse_unknown(given)
    return changed_settings(given["params"])
