"""All stages in order, and the table of a run."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from age_tasks.cli.command import CACHE, STAGES, command
from age_tasks.cli.processes import Main, preload, run_isolated
from age_tasks.cli.settings import Assignments, Recipe
from age_tasks.cli.stage import Again
from age_tasks.environment import Locations, StageVariables
from age_tasks.pipeline import PIPELINE
from age_tasks.runs.keys import new_run_key
from age_tasks.runs.run import find_run, open_run
from age_tasks.store import open_store

FIRST, *LATER = PIPELINE

_CAUSES: dict[int, str] = {
    signal.SIGKILL: "usually because memory ran out: end other programs, or choose a smaller finetune.batch_size",
    signal.SIGTERM: "as a person, `timeout` or the stop of a container sends it",
}


def register(app: typer.Typer, main: Main) -> None:
    """Add the commands of this module.

    Args:
        main: the command line itself, which a child process executes for each stage.
    """

    @command(app, "run", STAGES, fills=(CACHE,))
    def run(
        run: Annotated[
            str | None,
            typer.Option(
                metavar="KEY",
                help="The run's key; an unfinished run is continued; default: a new run. [env var: AGE_RUN]",
            ),
        ] = None,
        recipe: Recipe = None,
        assignments: Assignments = None,
        again: Again = False,
    ) -> int:
        """Execute all stages in order, each in a process of its own, without Airflow."""
        variables, locations = StageVariables.from_env(), Locations.from_env()
        key = run or variables.run or new_run_key()
        env = dict(os.environ, AGE_RUN=key, AGE_AGAIN="true" if again or variables.again else "")
        given = ["--recipe", recipe] if recipe else []
        given += [word for assignment in assignments or [] for word in ("--set", assignment)]
        preload()
        if code := _run_stage(main, [FIRST, *given], key, env):
            return code
        env |= {"AGE_RECIPE": "", "AGE_SET": ""}  # later stages use the settings that the run was started with
        for stage in LATER:
            if code := _run_stage(main, [stage], key, env):
                return code
        return _print_summary(find_run(key, lambda: open_store(locations.store)), locations)

    @command(app, "summary", STAGES)
    def summary(
        run: Annotated[str | None, typer.Option(metavar="KEY", help="The run's key; default: the newest run.")] = None,
    ) -> int:
        """Print a run's table: seconds, labels, MAE, verdict, and the pages to open."""
        from age_tasks.reports.run_summary import newest_started

        locations = Locations.from_env()
        store = open_store(locations.store)
        return _print_summary(find_run(run, lambda: store) if run else newest_started(store), locations)


def _run_stage(main: Main, arguments: Sequence[str], key: str, env: Mapping[str, str]) -> int:
    """Execute a stage of a run in a process of its own; returns its exit code, 128 + the signal where one ended it."""
    code = run_isolated(main, arguments, env)
    if code >= 0:
        return code
    cause = _CAUSES.get(-code, "a fault in a library or the hardware")
    print(
        f"run: {arguments[0]} was ended by signal {-code} ({signal.strsignal(-code)}), {cause}; "
        f"`age-tasks run --run {key}` continues",
        file=sys.stderr,
    )
    return 128 - code


def _print_summary(key: str, locations: Locations) -> int:
    from age_tasks.reports.run_summary import summary_table

    with open_run(key, locations) as run:
        print(summary_table(run))
    return 0
