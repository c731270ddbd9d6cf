"""The numbers of a finished stage, sent with Airflow's own metrics: to StatsD or OpenTelemetry, if configured."""

from collections.abc import Mapping

from airflow.sdk.observability.stats import gauge


def send_numbers(stage: str, summary: object) -> None:
    """Send each number of a summary as a gauge `age.<stage>.<name>`, for example `age.evaluate.finetune_mae`."""
    if isinstance(summary, Mapping):
        for name, value in summary.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                gauge(f"age.{stage}.{name}", value)
