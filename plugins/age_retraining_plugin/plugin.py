"""What Airflow's plugin manager loads in each of its processes: the places of the pages in the UI."""

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/age"
RUN = "age/{DAG_ID}/{RUN_ID}"  # relative: Airflow may be served below a path prefix


class AgeRetrainingPlugin(AirflowPlugin):
    name = "age_retraining"
    external_views = [  # noqa: RUF012 as Airflow declares it
        {
            "name": "Age models",
            "destination": "nav",
            "url_route": "age-models",
            "href": "age/models",
            "nav_top_level": True,
        },
        {
            "name": "Labels",
            "destination": "nav",
            "url_route": "age-labels",
            "href": "age/labels",
            "nav_top_level": True,
        },
        {"name": "Model report", "destination": "dag_run", "url_route": "model-report", "href": f"{RUN}/report"},
        {
            "name": "Label validation",
            "destination": "dag_run",
            "url_route": "label-validation",
            "href": f"{RUN}/validation",
        },
        {
            "name": "Labels to look at",
            "destination": "dag_run",
            "url_route": "labels-to-look-at",
            "href": f"{RUN}/labels",
        },
        {"name": "Summary", "destination": "task_instance", "url_route": "summary", "href": f"{RUN}/tasks/{{TASK_ID}}"},
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # made when asked for
        """The pages; only the API server reads this property."""
        from age_retraining_plugin.pages import app

        return [{"name": "Age models", "app": app, "url_prefix": PREFIX}]
