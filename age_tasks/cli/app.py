"""The command line `age-tasks`, also `python -m age_tasks`: it assembles the commands of the other modules."""

import logging
import os
import sys
from collections.abc import Sequence

from typer.main import get_command

from age_tasks.cli import airflow, labels, maintenance, models, pipeline, settings, shares, stage
from age_tasks.cli.command import group
from age_tasks.environment import LogVariables
from age_tasks.errors import AgeTasksError, SettingsError

PROGRAM = "age-tasks"
USAGE_ERROR = 2
HELP = """Retrain, evaluate and publish an age model.

\b
Where data is comes from the environment, each a path or an s3:// address:
  AGE_LABELS   labels.csv with the columns file_name,real_age
  AGE_IMAGES   the folder of images (default: images/ beside the labels)
  AGE_STORE    runs, reports and models (default: .age/store in the checkout)
  AGE_CACHE    local cache of everything that can be recomputed (default: .age/cache)
`age-tasks environment` lists all variables, `age-tasks settings` all settings.

\b
Examples:
  age-tasks sample --out faces --count 600
  AGE_LABELS=faces/labels.csv age-tasks run --recipe demo
  age-tasks finetune --set finetune.epochs=3     (again, on the newest run that has a baseline)
  age-tasks predict faces/images/00003.jpg
  age-tasks airflow tasks test age_retraining split 2026-01-01
"""
# Commands of earlier versions: the word, the option that marks them (empty: any use), and what replaces them.
FORMER = (
    ("split", "--labels", "labels split --labels CSV --out FOLDER"),
    ("audit", "", "labels audit --labels CSV --out FOLDER"),
    ("prune", "--forget", "forget FILE_NAME"),
)

app = group(HELP)
stage.register(app)
shares.register(app)
labels.register(app)
models.register(app)
maintenance.register(app)
airflow.register(app)
settings.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: that of the error in the tree of `errors.py`, or 2 for an invalid command line.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["airflow"]:  # all of its options are Airflow's, --help too
        try:
            return airflow.exec_airflow(given[1:])
        except AgeTasksError as error:
            print(f"airflow: {error}", file=sys.stderr)
            return error.exit_code
    if replacement := _replacement(given):
        print(f"{given[0]}: this is now `{PROGRAM} {replacement}`", file=sys.stderr)
        return USAGE_ERROR
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # warnings and errors of TensorFlow, not how it was built
    try:
        with_times = LogVariables.from_env().log_times
    except SettingsError as error:
        if given[:1] != ["environment"]:  # it lists all that is wrong
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return error.exit_code
        with_times = True
    line = "%(asctime)s %(message)s" if with_times else "%(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=line, datefmt="%H:%M:%S")
    try:
        get_command(app)(given, prog_name=PROGRAM)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0


pipeline.register(app, main)


def _replacement(arguments: Sequence[str]) -> str:
    """The command that replaces one of an earlier version; empty if it is none."""
    options = {word.partition("=")[0] for word in arguments[1:]}
    for name, option, replacement in FORMER:
        if arguments[:1] == [name] and (not option or option in options):
            return replacement
    return ""
