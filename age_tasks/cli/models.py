"""Commands around published models: predictions, the champion, the promotion log."""

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from age_tasks.cli.command import CACHE, MODELS, OUT, command
from age_tasks.environment import Locations, MLflowVariables, WorkflowVariables
from age_tasks.errors import LabelsError
from age_tasks.progress import never_silent
from age_tasks.runs.printed_summary import print_summary
from age_tasks.store import open_store
from age_tasks.store.output_file import output_file

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""

    @command(app, "predict", MODELS, fills=(CACHE, OUT))
    def predict(
        images: Annotated[
            list[str],
            typer.Argument(
                help="Images, folders, tar files of images (faces/*.tar), or tables (.csv, .tsv, .txt, .xlsx, "
                ".parquet) with a column file_name: paths or s3:// addresses."
            ),
        ],
        version: Annotated[
            str | None, typer.Option(metavar="N", help="The version's number in `history`; default: the champion.")
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
        out: Annotated[
            str | None,
            typer.Option(metavar="CSV", help="Write a table: file, age, low, high, …; a path or an s3:// address."),
        ] = None,
    ) -> int:
        """Predict the ages of images with the champion, each with an interval."""
        from age_tasks.reports import predictions

        place = output_file(out) if out else None
        name, table = _predicted_ages(images, version)
        readable = table["problem"] == ""
        if place:
            predictions.write_table(table, *place)
            log.info("%d images by %s, %d unreadable: %s", len(table), name, (~readable).sum(), out)
        else:
            print(predictions.as_json(name, table) if json else predictions.as_text(name, table))
        return 0 if readable.any() else LabelsError.exit_code

    @command(app, "score", MODELS, fills=(CACHE,))
    def score() -> int:
        """Predict the ages of the images in AGE_SCORE_IMAGES into AGE_SCORE_OUT; the task of `age_score_batch`."""
        from age_tasks.reports import predictions

        scored = WorkflowVariables.from_env().require_scoring()
        place = output_file(scored.out)
        with never_silent("score"):
            name, table = _predicted_ages([scored.images])
        predictions.write_table(table, *place)
        unreadable = int((table["problem"] != "").sum())
        if unreadable == len(table):
            raise LabelsError(f"{scored.images}: none of {len(table)} images can be read; {scored.out} says why")
        warned = int((table["warning"] != "").sum())
        print_summary({"version": name, "images": len(table), "unreadable": unreadable, "warnings": warned})
        return 0

    @command(app, "champion", MODELS)
    def champion() -> int:
        """Show the champion: its number, test MAE, files, and who promoted it and why."""
        from age_tasks.reports.history_text import describe_champion

        print(describe_champion(open_store(Locations.from_env().store)))
        return 0

    @command(app, "history", MODELS)
    def history(
        every_run: Annotated[
            bool, typer.Option("--all", help="List every run instead: the gate's verdicts, people's answers, who, why.")
        ] = False,
    ) -> int:
        """List every promotion and rollback, newest first."""
        from age_tasks.reports.history_text import history_table, runs_table

        store = open_store(Locations.from_env().store)
        print(runs_table(store) if every_run else history_table(store))
        return 0

    @command(app, "rollback", MODELS)
    def rollback(
        reason: Annotated[str, typer.Option(help="A sentence for those who read the history.")],
        to: Annotated[
            str | None,
            typer.Option(metavar="N", help="The version's number in `history`; default: the one before the champion."),
        ] = None,
        once: Annotated[
            str | None,
            typer.Option(
                metavar="KEY", help="Name this request, so that repeating it after a failure does not go back twice."
            ),
        ] = None,
    ) -> int:
        """Make an earlier version the champion again: one more entry in the promotion log, nothing is deleted."""
        from age_tasks.registry import promotions
        from age_tasks.reports.history_text import describe_champion

        store = open_store(Locations.from_env().store)
        entry = promotions.rollback(store, reason, to, once)
        if MLflowVariables.from_env().uri:
            from age_tasks.registry.mlflow_mirror import log_champion

            log_champion(entry.version)
        print(describe_champion(store).splitlines()[0])  # a line: the XCom of Airflow's task, which its notice repeats
        return 0


def _predicted_ages(images: list[str], version: str | None = None) -> tuple[str, "pd.DataFrame"]:
    """The version's name, and its predictions for images, folders and tables."""
    from age_tasks.serving.found_images import find_images
    from age_tasks.serving.predict import predict

    locations = Locations.from_env()
    found = find_images(images, locations.cache)
    return predict(found, open_store(locations.store), locations.cache, version)
