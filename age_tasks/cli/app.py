"""The command line: one sub-command a stage, and tools around them."""

import argparse
import ast
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

from age_tasks.config import Config, describe_settings, load_recipe, parse_overrides, recipe_names
from age_tasks.environment import Locations, MLflowVariables, StageVariables
from age_tasks.errors import AgeTasksError, LabelsError, MissingInputError, SettingsError
from age_tasks.pipeline import PIPELINE, STAGES, load_stage
from age_tasks.runs.keys import new_run_key
from age_tasks.runs.listing import newest_run
from age_tasks.runs.records import describe
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import execute_stage
from age_tasks.store import open_store
from age_tasks.store.addresses import local_path
from age_tasks.store.base import Store
from age_tasks.store.disk import full_disk_named

log = logging.getLogger("age_tasks")

DESCRIPTION = """Retrain, judge and publish an age model.

Where things are comes from the environment, each a path or an s3:// address:
  AGE_LABELS   labels.csv with the columns file_name,real_age
  AGE_IMAGES   the folder of pictures (default: images/ beside the labels)
  AGE_STORE    runs, reports and models (default: .age/store in the checkout)
  AGE_CACHE    what may be computed again, a local folder (default: .age/cache)
"""
EXAMPLES = """examples:
  python -m age_tasks sample --out faces --count 600
  AGE_LABELS=faces/labels.csv python -m age_tasks run --recipe demo
  python -m age_tasks finetune --set finetune.epochs=3     (again, on the newest run that has a baseline)
  python -m age_tasks airflow tasks test age_retraining split 2026-01-01
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a sub-command; returns the exit code (the tree in `errors.py` says which)."""
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments[:1] == ["airflow"]:
        from age_tasks.cli.airflow import exec_airflow

        return exec_airflow(arguments[1:])
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        with full_disk_named(_written_to(options)):
            return options.command(options)
    except AgeTasksError as error:
        print(f"{options.name}: {error}", file=sys.stderr)
        return error.exit_code


def _written_to(options: argparse.Namespace) -> dict[str, Path]:
    """The folders that a command may fill, by what chooses them."""
    out = getattr(options, "out", None)
    chosen = {"--out": out} if isinstance(out, Path) else {}
    return {"TMPDIR": Path(tempfile.gettempdir()), "AGE_CACHE": Locations.from_env().cache, **chosen}


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m age_tasks", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(title="stages, then tools", required=True, metavar="COMMAND")

    def add(name: str, command: object, description: str) -> argparse.ArgumentParser:
        first_line = description.strip().splitlines()[0]
        sub = commands.add_parser(name, help=first_line, description=description, formatter_class=raw)
        sub.set_defaults(command=command, name=name)
        return sub

    for stage in STAGES:
        sub = add(stage, _stage, _docstring(stage))
        sub.add_argument("--run", metavar="KEY", help=_RUN_HELP)
        _add_settings(sub)
        sub.add_argument("--again", action="store_true", help=_AGAIN_HELP)
    sub = add("run", _run, "Do all stages in order, each in a process of its own, without Airflow.")
    sub.add_argument(
        "--run",
        metavar="KEY",
        help="the run's key; an unfinished run goes on (default: a new one)",
    )
    _add_settings(sub)
    sub.add_argument("--again", action="store_true", help=_AGAIN_HELP)
    sub = add("summary", _summary, "Print a run's table: seconds, labels, MAE, verdict, and the pages to open.")
    sub.add_argument("--run", metavar="KEY", help="default: the newest run")
    sub = add("predict", _predict, "Say the ages of pictures by the model in use, each with an interval.")
    sub.add_argument("pictures", nargs="+", type=Path, help="pictures, folders, or CSV files with a column file_name")
    sub.add_argument("--version", metavar="N", help="its number in `history` (default: the champion)")
    sub.add_argument("--json", action="store_true", help="print JSON instead of text")
    sub.add_argument("--out", metavar="CSV", help="write a table, to a path or s3://…: file, age, low, high, …")
    add("champion", _champion, "Show the version in use: its number, test MAE, who promoted it and why, and its files.")
    add("history", _history, "List every promotion and rollback, newest first.")
    sub = add(
        "rollback", _rollback, "Put an earlier version back into use. One more entry in the log: nothing is lost."
    )
    sub.add_argument("--to", metavar="N", help="its number in `history` (default: the one before the champion)")
    sub.add_argument("--reason", required=True, help="a sentence for those who read the history")
    sub = add("prune", _prune, "List what store and cache no longer need, and with --delete remove it.")
    sub.add_argument("--keep", type=int, default=10, metavar="RUNS", help="newest runs to keep (default: %(default)s)")
    sub.add_argument("--delete", action="store_true", help="remove what is listed (default: only list it)")
    sub.add_argument(
        "--forget",
        metavar="FILE_NAME",
        help="instead: what is kept of a picture, by its name in the labels; rows, faces on sheets, features",
    )
    add("settings", _settings, "List every setting with its default.")
    sub = add("sample", _sample, "Draw a set of faces whose look depends on age.")
    sub.add_argument("--out", type=Path, required=True, help="folder for labels.csv and images/")
    sub.add_argument("--count", type=int, default=600, help="faces to draw (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=42, help="the same seed draws the same faces (default: %(default)s)")
    sub.add_argument("--faults", action="store_true", help="plant the faults that real labels and pictures have")
    for name, command, text in (
        ("audit", _audit, "Describe a labels file alone: count, duplicates, percentiles, histogram."),
        ("split", None, ""),
    ):
        sub = add(name, command, text) if command else commands.choices[name]
        sub.add_argument("--labels", required=command is not None, help="a labels.csv: work on it alone, without a run")
        sub.add_argument("--out", type=Path, required=command is not None, help="folder for the result, with --labels")
    add("up", _up, "Start Airflow with its UI in this checkout, and say where to log in.")
    commands.add_parser("airflow", help="any airflow command, with this checkout's settings")
    return parser


_RUN_HELP = "the run to work in (default: $AGE_RUN, else the newest run that has the inputs; snapshot: a new one)"

_AGAIN_HELP = "carry it out even if it has finished before with the same inputs, settings and code"


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        help=f"{', '.join(recipe_names())} or a .yaml file (default: $AGE_RECIPE, else the run's own, else reference)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.SETTING=VALUE",
        help="replace one setting; may be repeated (`settings` lists them; also $AGE_SET, a JSON object)",
    )


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    return StageVariables.from_env().set | parse_overrides(options.set)


def _stage(options: argparse.Namespace) -> int:
    if getattr(options, "labels", None):
        return _split_file(options)
    name, locations, variables = options.name, Locations.from_env(), StageVariables.from_env()
    with open_run(options.run or variables.run or _fitting_run(name, locations), locations) as run:
        config = _config(run, options)
        if not PIPELINE[name].needs.inputs:
            start_run(run, config, locations)
        log.info("%s of run %s", name, run.key)
        again = options.again or variables.again
        try:
            record = execute_stage(name, PIPELINE[name].needs, lambda: load_stage(name).execute, run, config, again)
        except AgeTasksError:
            raise
        except Exception as error:
            log.exception("stage %s failed", name)
            print(f"{name}: {describe(error)}", file=sys.stderr)
            return 1
        reused = {"reused_from": record.reused_from} if record.reused_from else {}
        if not reused:
            log.info("stage %s done in %.1f s", name, record.seconds)
        said = {"run": run.key, **reused, "seconds": record.seconds, **record.summary}
        print(json.dumps(said, ensure_ascii=False), flush=True)
    return 0


def _fitting_run(name: str, locations: Locations) -> str:
    needed = PIPELINE[name].needs.inputs
    if not needed:
        return new_run_key()
    key = newest_run(open_store(locations.store), needed)
    if key is None:
        raise MissingInputError(f"no run in {locations.store} has finished {', '.join(needed)}; start with 'snapshot'")
    log.info("no --run given: using the newest run with %s, %s", ", ".join(needed), key)
    return key


def _config(run: Workspace, options: argparse.Namespace) -> Config:
    recipe = options.recipe or StageVariables.from_env().recipe
    if recipe or not (PIPELINE[options.name].needs.inputs or run.started()):
        config = load_recipe(recipe or "reference")
    else:
        config = run.config()
    return config.with_overrides(_overrides(options))


def _run(options: argparse.Namespace) -> int:
    from age_tasks.cli.processes import load_ahead, run_command

    locations = Locations.from_env()
    key = options.run or StageVariables.from_env().run or new_run_key()
    given = ["--recipe", options.recipe] if options.recipe else []
    given += [word for assignment in options.set for word in ("--set", assignment)]
    load_ahead()
    for stage in STAGES:
        extra = given if stage == STAGES[0] else []
        env = dict(os.environ, AGE_RUN=key) | ({"AGE_AGAIN": "true"} if options.again else {})
        if stage != STAGES[0]:  # later stages take the settings that the run was started with
            env |= {"AGE_RECIPE": "", "AGE_SET": ""}
        if code := run_command([stage, *extra], env):
            return code
    with open_run(key, locations) as run:
        _print_summary(run)
    return 0


def _up(options: argparse.Namespace) -> int:
    from age_tasks.cli.airflow import serve

    return serve()


def _summary(options: argparse.Namespace) -> int:
    from age_tasks.reports.run_summary import newest_started

    locations = Locations.from_env()
    with open_run(options.run or newest_started(open_store(locations.store)), locations) as run:
        _print_summary(run)
    return 0


def _print_summary(run: Workspace) -> None:
    from age_tasks.reports.run_summary import summary_table

    print(summary_table(run))


def _predict(options: argparse.Namespace) -> int:
    from age_tasks.reports import predictions
    from age_tasks.serving import predict

    locations = Locations.from_env()
    paths = predict.pictures_in(options.pictures)
    name, table = predict.predict(paths, open_store(locations.store), locations.cache, options.version)
    if options.out:
        predictions.write_table(table, options.out)
        unreadable = (table["problem"] != "").sum()
        log.info("%d pictures by %s, %d unreadable: %s", len(table), name, unreadable, options.out)
    else:
        print(predictions.as_json(name, table) if options.json else predictions.as_text(name, table))
    return 0 if (table["problem"] == "").any() else LabelsError.exit_code


def _champion(options: argparse.Namespace) -> int:
    from age_tasks.reports.history_text import describe_champion

    print(describe_champion(open_store(Locations.from_env().store)))
    return 0


def _history(options: argparse.Namespace) -> int:
    from age_tasks.reports.history_text import history_table

    print(history_table(open_store(Locations.from_env().store)))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from age_tasks.registry.promotions import rollback
    from age_tasks.reports.history_text import describe_champion

    store = open_store(Locations.from_env().store)
    entry = rollback(store, options.reason, options.to)
    if MLflowVariables.from_env().uri:
        from age_tasks.registry.mlflow_mirror import log_champion

        log_champion(entry.version)
    print(describe_champion(store))
    return 0


def _prune(options: argparse.Namespace) -> int:
    from age_tasks.maintenance.prune import delete, half_written, superfluous

    locations = Locations.from_env()
    store = open_store(locations.store)
    if options.forget is not None:
        return _forget(options, store, locations.cache)
    found = superfluous(store, options.keep)
    on_disk = [local_path(store.url)] if store.url.startswith("file:") else []
    unfinished = half_written({locations.cache, *on_disk})
    sizes = {name: sum(entry.size for entry in entries) for name, entries in found.items()}
    sizes |= {f"{path}, half written": size for path, size in unfinished.items()}
    for name, size in sizes.items():
        print(f"{size / 1e6:10.1f} MB  {name}")
    total = sum(sizes.values()) / 1e6
    if options.delete:
        delete(store, found)
        for path in unfinished:
            path.unlink(missing_ok=True)
        print(f"{total:10.1f} MB  removed")
    else:
        print(f"{total:10.1f} MB  could be removed; nothing was: give --delete")
    return 0


def _forget(options: argparse.Namespace, store: Store, cache: Path) -> int:
    from age_tasks.maintenance.forget import forget, look_up

    for line in forget(look_up(options.forget, store, cache), store, cache, options.delete):
        print(line, flush=True)
    return 0


def _settings(options: argparse.Namespace) -> int:
    for name, default, description in describe_settings():
        print(f"{name:<36} {default:<14} {description}")
    return 0


def _sample(options: argparse.Namespace) -> int:
    from age_tasks.demo.synthetic_faces import draw_sample

    sample = draw_sample(options.out, options.count, options.seed, options.faults)
    for kind, rows in sample.faults.items():
        log.info("planted: %s (%d)", kind, rows)
    print(json.dumps({"labels": str(sample.labels), "images": str(sample.images), "rows": sample.rows}))
    return 0


def _audit(options: argparse.Namespace) -> int:
    from age_tasks.reports.label_audit import audit_file

    print(json.dumps(audit_file(options.labels, options.out)))
    return 0


def _split_file(options: argparse.Namespace) -> int:
    from age_tasks.stages.split import split_file

    if options.out is None:
        raise SettingsError("--labels needs --out, the folder for train.csv, val.csv and test.csv")
    config = load_recipe(options.recipe or "reference").with_overrides(_overrides(options))
    print(json.dumps(split_file(options.labels, config.split, options.out)))
    return 0


def _docstring(stage: str) -> str:
    """The stage's documentation, read without importing it: some bring TensorFlow."""
    source = Path(__file__).parents[1] / "stages" / f"{stage}.py"
    return ast.get_docstring(ast.parse(source.read_text())) or stage


if __name__ == "__main__":
    sys.exit(main())
