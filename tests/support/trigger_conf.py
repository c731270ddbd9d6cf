"""What becomes of the conf of a run."""

import runpy
from types import SimpleNamespace
from typing import Any, cast

from age_retraining_plugin.form import retraining_form
from age_retraining_plugin.trigger_conf import changed_settings, refuse_invalid
from airflow.sdk import Context, Param
from airflow.sdk.definitions.param import ParamsDict

from age_tasks.environment import PROJECT


def context(conf: dict[str, Any] | None, params: dict[str, Any] | None = None) -> Context:
    """The context of the first task as Airflow makes it of a conf."""
    form = ParamsDict(cast(dict[str, Any], retraining_form()))
    merged = {**form.dump(), **(conf or {})} if params is None else params
    run = SimpleNamespace(conf=conf)
    return cast(Context, {"params": merged, "dag": SimpleNamespace(params=form), "dag_run": run})


def applied(conf: dict[str, Any]) -> dict[str, Any]:
    """The settings that reach the first stage."""
    given = context(conf)
    refuse_invalid(given)
    return changed_settings(given["params"])


def form_of_rollback() -> dict[str, Param]:
    """The fields of the DAG `age_rollback`."""
    found: dict[str, Param] = runpy.run_path(str(PROJECT / "dags" / "age_rollback.py"))["FORM"]
    return found
