"""A finished stage's numbers, sent where Airflow's own metrics go: StatsD or OpenTelemetry, if one is configured."""

from collections.abc import Mapping

from airflow.sdk.observability.stats import gauge


def send_numbers(stage: str, summary: object) -> None:
    """Send each number of the summary as the gauge `age.<stage>.<name>`, such as `age.evaluate.finetune_mae`."""
    if isinstance(summary, Mapping):
        for name, value in summary.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                gauge(f"age.{stage}.{name}", value)
