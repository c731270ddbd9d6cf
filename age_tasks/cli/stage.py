"""The stages as commands: one after another on the same run, in any process."""

import ast
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from age_tasks.cli import settings
from age_tasks.cli.command import CACHE, STAGES, command
from age_tasks.config import Config, parse_overrides
from age_tasks.environment import Locations, StageVariables
from age_tasks.errors import AgeTasksError, MissingInputError, TooFewNewError
from age_tasks.pipeline import PIPELINE, load_stage
from age_tasks.progress import never_silent
from age_tasks.resources import package_path
from age_tasks.runs.keys import new_run_key, safe_run_key
from age_tasks.runs.listing import newest_run
from age_tasks.runs.printed_summary import print_summary
from age_tasks.runs.records import StageRecord, describe
from age_tasks.runs.run import Workspace, find_run, open_run, start_run
from age_tasks.runs.runner import execute_stage
from age_tasks.store import open_store

log = logging.getLogger(__name__)

Again = Annotated[
    bool, typer.Option("--again", help="Execute it even if an earlier result could be reused. [env var: AGE_AGAIN]")
]
RunKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The run to work in; default: the newest run that has the inputs, or a new run for `snapshot`. "
        "[env var: AGE_RUN]",
    ),
]


def register(app: typer.Typer) -> None:
    """Add a command for each stage."""
    for name, stage in PIPELINE.items():
        command(
            app,
            name,
            STAGES,
            fills=(CACHE,),
            help=_docstring(name),
            short_help=f"{stage.does[0].upper()}{stage.does[1:]}.",
        )(_stage_command(name))


def progress(stage: str, state: str) -> None:
    """Log the state of a stage as a line that `make demo` shows; it finds the line by the equals signs."""
    log.info("== stage %s: %s ==", stage, state)


def _stage_command(name: str) -> Callable[..., int]:
    def run_stage(
        run: RunKey = None,
        recipe: settings.Recipe = None,
        assignments: settings.Assignments = None,
        again: Again = False,
    ) -> int:
        with never_silent(name):
            return carry_out(run, recipe, assignments, again)

    def carry_out(run: str | None, recipe: str | None, assignments: list[str] | None, again: bool) -> int:
        variables, locations = StageVariables.from_env(), Locations.from_env()
        run_id, starts = run or variables.run, not PIPELINE[name].needs.inputs
        if not run_id:
            needed = PIPELINE[name].needs.inputs
            key = default_run(needed, locations) if needed else new_run_key()
        else:
            key = safe_run_key(run_id) if starts else find_run(run_id, lambda: open_store(locations.store))
        with open_run(key, locations) as opened:
            config = _config(name, opened, recipe, assignments)
            warn_of_settings_without_effect(name, assignments or [])
            if starts:
                start_run(opened, config, locations, run_id, _recipe(opened, recipe))
            log.info("%s of run %s", name, opened.key)
            return _execute(name, opened, config, again or variables.again)

    return run_stage


def _execute(name: str, run: Workspace, config: Config, again: bool) -> int:
    """Execute the stage and print its summary, a line of JSON; returns the exit code.

    Raises:
        AgeTasksError: as the stage does.
    """
    try:
        record = execute_stage(name, PIPELINE[name].needs, lambda: load_stage(name).execute, run, config, again)
    except TooFewNewError:
        progress(name, "skipped")
        raise
    except AgeTasksError:
        progress(name, "failed")
        raise
    except Exception as error:
        log.exception("%s: unexpected error", name)
        progress(name, "failed")
        print(f"{name}: {describe(error)}", file=sys.stderr)
        return 1
    reused = record.reused_from
    progress(name, f"reused from run {reused}" if reused else f"done in {record.seconds:.1f} s")
    print_summary(_summary(run.key, record))
    return 0


def _summary(key: str, record: StageRecord) -> dict[str, object]:
    reused = {"reused_from": record.reused_from} if record.reused_from else {}
    return {"run": key, **reused, "seconds": record.seconds, **record.summary}


def warn_of_settings_without_effect(name: str, assignments: Sequence[str]) -> None:
    """Log in a line the settings of `--set` that the stage does not read; a run's first stage takes those of all.

    The settings of `AGE_SET` are for all stages of a run, and are not looked at.

    Raises:
        SettingsError: an assignment that can't be read.
    """
    given = parse_overrides(assignments) if PIPELINE[name].needs.inputs else ()
    if unread := [setting for setting in given if setting.partition(".")[0] not in PIPELINE[name].reads]:
        told = ", ".join(f"{setting} (give it to {' or '.join(_readers_of(setting))})" for setting in unread)
        log.warning("%s does not read these settings, which have no effect on it: %s", name, told)


def _readers_of(setting: str) -> list[str]:
    """The stages whose result a setting shapes; else those that read it."""
    section = setting.partition(".")[0]
    shaped = [name for name, stage in PIPELINE.items() if section in stage.needs.settings]
    return shaped or [name for name, stage in PIPELINE.items() if section in stage.reads]


def default_run(needed: Sequence[str], locations: Locations) -> str:
    """The key of the newest run that has finished these stages.

    Raises:
        MissingInputError: no run has.
    """
    key = newest_run(open_store(locations.store), needed)
    if key is None:
        raise MissingInputError(f"no run in {locations.store} has finished {', '.join(needed)}; start with 'snapshot'")
    log.info("no run was chosen: using the newest run with %s, %s", ", ".join(needed), key)
    return key


def _recipe(run: Workspace, recipe: str | None) -> Config:
    """The settings of the chosen recipe, else those of the recipe that the run was started with."""
    if not settings.chosen_recipe(recipe) and run.started():
        return run.recipe()
    return settings.recipe_config(recipe)


def _config(name: str, run: Workspace, recipe: str | None, assignments: list[str] | None) -> Config:
    """The settings of the chosen recipe, else those that the run was started with, with replacements."""
    if settings.chosen_recipe(recipe) or not (PIPELINE[name].needs.inputs or run.started()):
        return settings.with_overrides(settings.recipe_config(recipe), assignments)
    return settings.with_overrides(run.config(), assignments)


def _docstring(stage: str) -> str:
    """The stage's documentation, read without importing it: some import TensorFlow."""
    source = package_path(f"stages/{stage}.py").read_text()
    return ast.get_docstring(ast.parse(source)) or stage
