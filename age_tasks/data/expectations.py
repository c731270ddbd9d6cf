"""Running the suites of `expectations/` with Great Expectations, so that nothing is dropped in silence."""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from age_tasks.errors import SettingsError
from age_tasks.resources import package_path

EXPECTATIONS = package_path("expectations")


@dataclass(frozen=True)
class Finding:
    """What one expectation found."""

    description: str
    severity: str
    success: bool
    column: str
    arguments: dict[str, Any]
    observed: str
    failing_rows: tuple[int, ...]
    meta: dict[str, Any]

    @property
    def blocks(self) -> bool:
        return not self.success and self.severity == "critical"


class Expectations:
    """A private copy of `expectations/` in `workspace`, whose Data Docs collect every suite that is checked."""

    def __init__(self, workspace: Path, run_name: str) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        root = workspace / "gx"
        shutil.copytree(EXPECTATIONS, root)
        self._context = gx.get_context(mode="file", context_root_dir=root)
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._root, self._run_name, self._gx = root, run_name, gx

    def check(self, suite_name: str, table: pd.DataFrame) -> list[Finding]:
        """Evaluate a suite on a table; failing rows are positions in the table.

        Raises:
            SettingsError: an expectation of the suite could not be loaded, or broke while it ran.
        """
        gx = self._gx
        declared = json.loads((self._root / "suites" / f"{suite_name}.json").read_text())["expectations"]
        suite = self._load(suite_name)
        source = self._context.data_sources.add_pandas(f"{suite_name} of the labels")
        batch = source.add_dataframe_asset("labels").add_batch_definition_whole_dataframe("all rows")
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=suite_name, data=batch, suite=suite)
        )
        # The quarantine needs the position of every failing row; the pages get a short form, quick on any table.
        results = batch.get_batch({"dataframe": table}).validate(suite, result_format="COMPLETE").results
        _same_count(suite_name, declared, results)
        self._document(suite_name, definition, table)
        order = [entry["id"] for entry in declared]
        results = sorted(results, key=lambda result: order.index(result.expectation_config.id))
        return [_finding(suite_name, result) for result in results]

    def write_data_docs(self, out: Path) -> None:
        """Put the Data Docs of all checked suites into `out`, complete without the network."""
        from age_tasks.reports.data_docs import make_offline

        self._context.build_data_docs()
        shutil.copytree(self._root / "data_docs", out)
        make_offline(out)

    def _load(self, suite_name: str) -> Any:
        try:
            return self._context.suites.get(suite_name)
        except Exception as error:  # of Great Expectations, or of the pydantic inside it
            raise SettingsError(f"expectations/suites/{suite_name}.json: {error}") from None

    def _document(self, suite_name: str, definition: Any, table: pd.DataFrame) -> None:
        """Results in the short form are kept for the pages."""
        gx = self._gx
        checkpoint = self._context.checkpoints.add(
            gx.Checkpoint(name=suite_name, validation_definitions=[definition], result_format="SUMMARY")
        )
        run_id = gx.RunIdentifier(run_name=self._run_name)
        checkpoint.run(batch_parameters={"dataframe": table}, run_id=run_id)


def _same_count(suite: str, declared: list, results: list) -> None:
    """Great Expectations drops what it can't build with a line in the log only."""
    if len(declared) != len(results):
        raise SettingsError(
            f"expectations/suites/{suite}.json declares {len(declared)} expectations, {len(results)} were evaluated; "
            "check the spelling of each type and its arguments"
        )


def _finding(suite: str, result: Any) -> Finding:
    config = result.expectation_config
    if result.exception_info and "raised_exception" not in result.exception_info:  # one entry for each metric
        message = next(iter(result.exception_info.values()))["exception_message"]
        raise SettingsError(f"expectations/suites/{suite}.json: {config.type} {config.kwargs}: {message}")
    outcome, arguments = (
        result.result,
        {key: value for key, value in config.kwargs.items() if key != "batch_id"},
    )
    return Finding(
        description=config.description or config.type,
        severity=str(getattr(config.severity, "value", config.severity)),
        success=bool(result.success),
        column=arguments.pop("column", ""),
        arguments=arguments,
        observed=str(outcome.get("observed_value", "")),
        failing_rows=tuple(outcome.get("unexpected_index_list") or ()),
        meta=dict(config.meta or {}),
    )
