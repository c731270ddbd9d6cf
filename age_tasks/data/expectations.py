"""Run the suites of `expectations/` with Great Expectations, and report every finding."""

import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from age_tasks.errors import SettingsError
from age_tasks.resources import package_path

EXPECTATIONS = package_path("expectations")
_CURE = "correct it, or restore it from the release"


def age_bounds() -> tuple[float, float]:
    """The lowest and the highest age in years that the suite `rows` accepts."""
    ages = [each["kwargs"] for each in _declared("rows") if each["kwargs"].get("column") == "real_age"]
    low = [bound for each in ages if (bound := each.get("min_value")) is not None]
    high = [bound for each in ages if (bound := each.get("max_value")) is not None]
    return max(low, default=-math.inf), min(high, default=math.inf)


@dataclass(frozen=True)
class Finding:
    """The result of one expectation.

    Args:
        description: what is expected, for people.
        severity: `critical`, `warning` or `info`.
        success: whether the expectation is met.
        column: the column it is about; empty if it has none.
        arguments: of the expectation, such as `min_value`.
        observed: the observed value, for people; empty if there is none.
        failing_rows: positions in the table.
        meta: of the expectation in its suite; row-level expectations have `fault` and `reason`.
        suite: the name of its suite.
    """

    description: str
    severity: str
    success: bool
    column: str
    arguments: dict[str, Any]
    observed: str
    failing_rows: tuple[int, ...]
    meta: dict[str, Any]
    suite: str = ""

    @property
    def blocks(self) -> bool:
        """Whether it quarantines rows or, without `fault`, refuses the labels."""
        return not self.success and self.severity == "critical"


class Expectations:
    """A private copy of `expectations/` in `workspace`, and the Data Docs of every suite that is checked.

    Args:
        workspace: an existing folder without `gx`.
        run_name: shown in the Data Docs.
    """

    def __init__(self, workspace: Path, run_name: str) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        import great_expectations as gx  # after the variable is set
        from great_expectations.data_context.types.base import ProgressBarsConfig

        root = workspace / "gx"
        shutil.copytree(EXPECTATIONS, root)
        self._context = gx.get_context(mode="file", context_root_dir=root)
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._root, self._run_name, self._gx = root, run_name, gx

    def check(
        self, suite_name: str, table: pd.DataFrame, parameters: Mapping[str, float] | None = None
    ) -> list[Finding]:
        """Evaluate a suite on a table; one finding for each expectation, in the order of the suite.

        Args:
            parameters: values for the places of the suite that name a `$PARAMETER`.

        Raises:
            SettingsError: an expectation of the suite could not be loaded, or failed with an error.
        """
        gx, given = self._gx, dict(parameters or {})
        declared = _declared(suite_name)
        suite = self._load(suite_name)
        source = self._context.data_sources.add_pandas(f"{suite_name} of the labels")
        batch = source.add_dataframe_asset("labels").add_batch_definition_whole_dataframe("all rows")
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=suite_name, data=batch, suite=suite)
        )
        # The quarantine needs the position of every failing row; Data Docs get a summary, which is fast on any table.
        try:
            results = (
                batch.get_batch({"dataframe": table})
                .validate(suite, result_format="COMPLETE", expectation_parameters=given)
                .results
            )
        except gx.exceptions.SuiteParameterError as error:
            known = ", ".join(given) or "none"
            raise SettingsError(
                f"{_suite(suite_name)}: a $PARAMETER is not known ({_first_line(error)}); there are: {known}; {_CURE}"
            ) from None
        _require_all_evaluated(suite_name, declared, results)
        self._add_to_data_docs(suite_name, definition, table, given)
        order = [entry["id"] for entry in declared]
        results = sorted(results, key=lambda result: order.index(result.expectation_config.id))
        return [_finding(suite_name, result) for result in results]

    def write_data_docs(self, out: Path) -> None:
        """Write the Data Docs of all checked suites, as Great Expectations makes them, into the new folder `out`."""
        self._context.build_data_docs()
        shutil.copytree(self._root / "data_docs", out)

    def _load(self, suite_name: str) -> Any:
        try:
            return self._context.suites.get(suite_name)
        except Exception as error:  # of Great Expectations, or of the pydantic inside it
            raise SettingsError(f"{_suite(suite_name)}: {_first_line(error)}; {_CURE}") from None

    def _add_to_data_docs(
        self, suite_name: str, definition: Any, table: pd.DataFrame, parameters: dict[str, float]
    ) -> None:
        gx = self._gx
        checkpoint = self._context.checkpoints.add(
            gx.Checkpoint(name=suite_name, validation_definitions=[definition], result_format="SUMMARY")
        )
        run_id = gx.RunIdentifier(run_name=self._run_name)
        checkpoint.run(batch_parameters={"dataframe": table}, run_id=run_id, expectation_parameters=parameters)


def _suite(name: str) -> Path:
    """The file of a suite."""
    return EXPECTATIONS / "suites" / f"{name}.json"


def _declared(suite: str) -> list[dict[str, Any]]:
    """The expectations of a suite as its file declares them.

    Raises:
        SettingsError: the file can't be read.
    """
    try:
        declared: list[dict[str, Any]] = json.loads(_suite(suite).read_text())["expectations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{_suite(suite)} is no suite ({_first_line(error)}); {_CURE}") from None
    return declared


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _require_all_evaluated(suite: str, declared: Sequence[object], results: Sequence[object]) -> None:
    """Great Expectations drops an expectation that it can't build, with no more than a line in the log."""
    if len(declared) != len(results):
        raise SettingsError(
            f"{_suite(suite)} declares {len(declared)} expectations, {len(results)} were evaluated; "
            "check the spelling of each type and its arguments"
        )


def _finding(suite: str, result: Any) -> Finding:
    config = result.expectation_config
    if result.exception_info and "raised_exception" not in result.exception_info:  # one entry for each metric
        message = next(iter(result.exception_info.values()))["exception_message"]
        raise SettingsError(f"{_suite(suite)}: {config.type} {config.kwargs}: {_first_line(message)}; {_CURE}")
    arguments = {key: value for key, value in config.kwargs.items() if key not in {"batch_id", "column"}}
    return Finding(
        description=config.description or config.type,
        severity=str(getattr(config.severity, "value", config.severity)),
        success=bool(result.success),
        column=config.kwargs.get("column", ""),
        arguments=arguments,
        observed=str(result.result.get("observed_value", "")),
        failing_rows=tuple(result.result.get("unexpected_index_list") or ()),
        meta=dict(config.meta or {}),
        suite=suite,
    )
