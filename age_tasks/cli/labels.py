"""Tools for a labels file alone, a person's acceptance of labels, and the synthetic faces to try everything with."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from age_tasks.cli.command import CACHE, LABELS, OUT, command, group
from age_tasks.cli.settings import Assignments, Recipe, recipe_config, with_overrides
from age_tasks.environment import Locations, WorkflowVariables
from age_tasks.progress import never_silent
from age_tasks.runs.printed_summary import print_summary
from age_tasks.store import open_store

log = logging.getLogger(__name__)

LabelsFile = Annotated[str, typer.Option(metavar="CSV", help="A labels file: a path or an s3:// address.")]
OutFolder = Annotated[Path, typer.Option(metavar="FOLDER", help="The folder for the result.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    labels_app = group(
        "Work on a labels file alone, without images; accept labels that a run refused; merge corrections."
    )

    @command(labels_app, "split", LABELS, title="labels split", fills=(OUT,))
    def split(labels: LabelsFile, out: OutFolder, recipe: Recipe = None, assignments: Assignments = None) -> int:
        """Split a labels file into train.csv, val.csv and test.csv, stratified by age."""
        from age_tasks.stages.split import split_file

        print(json.dumps(split_file(labels, with_overrides(recipe_config(recipe), assignments).split, out)))
        return 0

    @command(labels_app, "audit", LABELS, title="labels audit", fills=(OUT,))
    def audit(labels: LabelsFile, out: OutFolder) -> int:
        """Describe a labels file: count, duplicates, percentiles, histogram."""
        from age_tasks.reports.label_audit import audit_file

        print(json.dumps(audit_file(labels, out)))
        return 0

    @command(labels_app, "accept", LABELS, title="labels accept")
    def accept(
        labels: Annotated[
            str,
            typer.Argument(
                metavar="RUN", help="The run that was refused, or the sha256 of the labels.csv that it froze."
            ),
        ],
        why: Annotated[str, typer.Option(help="Why these labels are right, for the validation page.")],
        by: Annotated[
            str | None, typer.Option(metavar="NAME", help="Who accepts them; default: the user of this machine.")
        ] = None,
    ) -> int:
        """Accept exactly these labels although their ages are distributed otherwise than before."""
        from age_tasks.stages.accept_labels import accept_labels

        found, new = accept_labels(open_store(Locations.from_env().store), labels, why, by)
        print(f"labels {found.labels_sha256[:12]}… of run {found.run}: {'' if new else 'already '}{found.sentence}")
        if new:
            print(
                f"Next: age-tasks validate --run {found.run}, and the stages after it; in Airflow, clear the failed "
                "task validate, or trigger a run with the same labels. The gate compares ages too: see gate.max_drift"
            )
        return 0

    @command(labels_app, "merge", LABELS, title="labels merge", fills=(OUT,))
    def merge(
        corrections: Annotated[
            str,
            typer.Argument(
                help="What people said: an export of Label Studio (JSON, JSON-MIN or CSV), or a table with the columns "
                "file_name,real_age; a path or an s3:// address."
            ),
        ],
        labels: LabelsFile,
        out: Annotated[
            str | None,
            typer.Option(metavar="CSV", help="The new labels file; default: NAME.merged.csv beside the old."),
        ] = None,
        by: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Who said what names nobody; default: the user of this machine."),
        ] = None,
    ) -> int:
        """Write a new labels file with the corrections of people; the old one stays."""
        from age_tasks.stages.merge_labels import merge_labels

        print(json.dumps(merge_labels(labels, corrections, Locations.from_env().store, out, by)))
        return 0

    app.add_typer(labels_app, name="labels", rich_help_panel=LABELS)

    @command(app, "label-next", LABELS, fills=(CACHE,))
    def label_next() -> int:
        """Rank the images in AGE_UNLABELLED by what the model learns most from; the task of `age_label_next`."""
        from age_tasks.stages import label_next

        with never_silent("label-next"):
            ranked = label_next.label_next(WorkflowVariables.from_env().require_unlabelled(), Locations.from_env())
        print_summary(ranked)
        return 0

    @command(app, "sample", LABELS, fills=(OUT,))
    def sample(
        out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder for labels.csv and images/.")],
        count: Annotated[int, typer.Option(help="The number of faces.")] = 600,
        seed: Annotated[int, typer.Option(help="The same seed draws the same faces.")] = 42,
        faults: Annotated[
            bool, typer.Option("--faults", help="Add the faults that real labels and images have.")
        ] = False,
    ) -> int:
        """Draw a labelled set of synthetic faces whose look depends on age."""
        from age_tasks.demo.synthetic_faces import draw_sample

        drawn = draw_sample(out, count, seed, faults)
        for kind, rows in drawn.faults.items():
            log.info("fault added: %s (%d)", kind, rows)
        print(json.dumps({"labels": str(drawn.labels), "images": str(drawn.images), "rows": drawn.rows}))
        return 0
