"""Numbers of a stage, sent as Airflow's task runner sends its own."""

from age_retraining_plugin.stage_metrics import send_numbers
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils


def send() -> None:
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
    summary = {"run": "one", "finetune_mae": 6.75, "test_images": 1139, "passed": True, "champion": None}
    send_numbers("evaluate", summary)
    send_numbers("rollback", "v3 is in use")
