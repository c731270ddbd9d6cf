"""Measure both models on the test images, and the champion on the same: MAE, RMSE, bias, CS@5, by age, worst errors.

The champion is also scored on all images that are new since it was trained, before anyone learns from them.

Writes `metrics.json`, `by_age.csv`, `predictions.csv`, `labels_to_look_at.csv`, the same as tasks for Label Studio, and
the plots; `error_in_use.csv` if images are new; `places.csv` where the images are in tar files.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from age_tasks.config import Config, EvaluateSettings, parse_slice
from age_tasks.data.decoding import load_accepted
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.image_places import write_places
from age_tasks.data.image_quality import image_slices
from age_tasks.data.label_columns import further_columns_of
from age_tasks.errors import SettingsError
from age_tasks.evaluation.bootstrap import people_in, people_of
from age_tasks.evaluation.comparison import compare, population_stability
from age_tasks.evaluation.conformal import half_widths, with_coverage
from age_tasks.evaluation.enough import too_few
from age_tasks.evaluation.in_use import error_in_use
from age_tasks.evaluation.label_issues import rank_by_label_error
from age_tasks.evaluation.metrics import (
    MODELS,
    by_age,
    mae_difference,
    measure,
    mistaken_for_adults,
    mistaken_for_minors,
    predict_the_median,
)
from age_tasks.evaluation.results import (
    LABELS_TO_LOOK_AT,
    ChampionComparison,
    ErrorInUse,
    Estimate,
    Metrics,
    Selection,
    WeakSegment,
)
from age_tasks.evaluation.slices import compare_slices, image_slice_labels, measure_slices, slice_labels
from age_tasks.evaluation.weak_segments import weak_segments
from age_tasks.pipeline import champion_to_beat
from age_tasks.registry.label_confirmations import confirmed_labels, label_key
from age_tasks.registry.promotions import Manifest, Promotion
from age_tasks.registry.version_facts import measured
from age_tasks.reports import figures
from age_tasks.reports.face_sheets import (
    SEGMENT_FACES,
    WEAK_SEGMENT,
    first_label_issues,
    got_better,
    got_worse,
    in_weak_segments,
    largest_errors,
)
from age_tasks.reports.label_issues_page import LabelIssue, LabelIssues
from age_tasks.reports.label_studio import task
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.thumbnails import thumbnail
from age_tasks.runs.listing import previous_run
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace
from age_tasks.stages._ancestors import own_images
from age_tasks.stages._inputs import (
    fetched_version,
    images_of,
    read_accepted,
    read_splits,
    scored_by_champion,
    with_ages,
)
from age_tasks.store.base import to_json

log = logging.getLogger(__name__)

AGES = "{real:g} → {other:.0f}"  # the caption of a face
LABEL_ISSUE_PIXELS = 224  # side of an image of the labels to look at


@dataclass(frozen=True)
class Champion:
    """A fetched version that the candidate is compared with."""

    entry: Promotion
    folder: Path
    manifest: Manifest

    @cached_property
    def trained_on(self) -> pd.DataFrame:
        """The images behind it, its ancestors' included, as `trained_on_of` returns them."""
        return pd.read_csv(self.folder / "trained_on.csv")

    @property
    def test_mae(self) -> Estimate | None:
        """Of its test images when it was published, in years; None if that can't be read."""
        file = self.folder / "metrics.json"
        found = measured(file.read_bytes() if file.exists() else None).get("mae")
        return Estimate.model_validate(found.model_dump()) if found else None


def execute(run: Workspace, config: Config) -> Summary:
    splits, folder, settings = read_splits(run), images_of(run), config.evaluate
    all_images = pd.concat(splits.values())
    columns = ["file_name", "sha256", "real_age", *further_columns_of(splits["test"].columns)]
    predictions = splits["test"][columns].copy()
    for name in MODELS:
        predictions = with_ages(run, name, "test", predictions)
    predictions = with_image_slices(predictions, read_accepted(run))
    slices = slice_labels(predictions, require_slices(predictions, settings))
    comparison, in_use, models = None, None, list(MODELS)
    if champion := fetch_champion(run):
        scored = scored_by_champion(splits, champion.trained_on)
        scored["champion"] = score_champion(champion, scored, folder, run, config)
        predictions["champion"] = predictions["file_name"].map(scored.set_index("file_name")["champion"])
        in_use = measure_in_use(champion, scored[scored["new_to_champion"]], run.output_dir, settings)
        comparison = compare_with_champion(champion, predictions, all_images, slices, settings)
        models.append("champion")
    validation = with_ages(run, "finetune", "val", splits["val"])
    median_age = float(splits["train"]["real_age"].median())
    weak, of_image = weak_segments(predictions, settings.bootstrap_samples, settings.seed)
    metrics = measure_all(predictions, validation, median_age, comparison, slices, weak, settings, in_use)
    if weak:
        predictions[WEAK_SEGMENT] = of_image
    ages = by_age(predictions, settings.bin_edges, models)
    (run.output_dir / "metrics.json").write_bytes(metrics.to_bytes())
    (run.output_dir / "predictions.csv").write_text(as_csv(predictions))
    ages.to_csv(run.output_dir / "by_age.csv", index=False)
    write_places(folder, predictions["file_name"], run.output_dir)
    _draw(run, folder, predictions, ages, metrics)
    if champion and comparison:
        _draw_comparison(run, champion, comparison, all_images)
        _draw_changed_faces(run, champion, folder, predictions)
    _write_label_issues(run, folder)
    return _summary(metrics)


def measure_all(
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    median_age: float,
    champion: ChampionComparison | None,
    slices: pd.DataFrame,
    weak: tuple[WeakSegment, ...] | None,
    settings: EvaluateSettings,
    in_use: ErrorInUse | None = None,
) -> Metrics:
    """The content of `metrics.json`.

    Args:
        predictions: of the test images: columns real_age, baseline, finetune, in years; person if it is known, and what
            is known of `IMAGE_SLICES`.
        validation: of the validation images: columns real_age, finetune, in years.
        median_age: of the training images, in years.
        champion: the comparison with the champion, if there is one.
        slices: of the test images, as `slice_labels` returns it.
        weak: as `weak_segments` returns it.
        in_use: the champion's error on new images, if there are any.
    """
    real, baseline, finetune = (predictions[name].to_numpy() for name in ("real_age", *MODELS))
    edges, samples, seed = settings.bin_edges, settings.bootstrap_samples, settings.seed
    people = people_of(predictions)
    groups = half_widths(validation["real_age"].to_numpy(), validation["finetune"].to_numpy(), edges)
    return Metrics(
        images=len(real),
        median_age=median_age,
        predict_the_median=predict_the_median(real, median_age),
        people=None if people is None else len(np.unique(people)),
        baseline=measure(real, baseline, samples, seed, people),
        finetune=measure(real, finetune, samples, seed, people),
        difference=mae_difference(real, finetune, baseline, samples, seed, people),
        minors=mistaken_for_adults(real, finetune),
        adults=mistaken_for_minors(real, finetune),
        champion=champion,
        interval=with_coverage(groups, real, finetune, edges),
        slices=measure_slices(predictions, slices, samples, seed),
        image_slices=measure_slices(predictions, image_slice_labels(predictions, settings.slices), samples, seed),
        weak_segments=weak,
        in_use=in_use,
    )


def with_image_slices(predictions: pd.DataFrame, accepted: pd.DataFrame) -> pd.DataFrame:
    """The predictions with what was measured of each image, in the columns of `image_slices`.

    Args:
        accepted: as `read_accepted` returns it.
    """
    measured = image_slices(accepted).assign(file_name=accepted["file_name"])
    return predictions.merge(measured, how="left", on="file_name", validate="one_to_one")


def require_slices(predictions: pd.DataFrame, settings: EvaluateSettings) -> tuple[str, ...]:
    """The slices of the settings, for which the test images have the columns.

    Args:
        predictions: of the test images.

    Raises:
        SettingsError: the snapshot of this run has not the columns for one of them.
    """
    for each in settings.slices:
        for column in parse_slice(each):
            if column.key not in predictions:
                raise SettingsError(
                    f"evaluate.slices: the run's snapshot has no column {column.name!r}; start the run again with this "
                    "setting, from snapshot on"
                )
    return settings.slices


def fetch_champion(run: Workspace) -> Champion | None:
    """The version that the candidate is compared with, fetched; None before the first promotion."""
    entry = champion_to_beat(run)
    return Champion(entry, *fetched_version(entry, run)) if entry else None


def score_champion(
    champion: Champion, images: pd.DataFrame, folder: ImageFolder, run: Workspace, config: Config
) -> np.ndarray:
    """The champion's predicted ages in years, shape (images,), by the same code as the candidate's."""
    # Imported here, since it brings TensorFlow, which the first run, without a champion, does not need.
    from age_tasks.stages._networks import champion_network
    from age_tasks.training.inference import predict_ages

    network, as_trained = champion_network(champion.folder, champion.manifest, config)
    return predict_ages(network, images, folder, run.cache, as_trained).round(3)


def measure_in_use(champion: Champion, new: pd.DataFrame, out: Path, settings: EvaluateSettings) -> ErrorInUse | None:
    """The champion's error on the images that are new since it was trained; None if there are none.

    Writes `error_in_use.csv` with a row for each.

    Args:
        new: as `scored_by_champion` returns them, with the column champion (years).
    """
    if new.empty:
        return None
    columns = ["file_name", "sha256", "in_split", "real_age", "champion"]
    (out / "error_in_use.csv").write_text(as_csv(new[columns]))
    optimism = optimism_of(champion.manifest, int((champion.trained_on["split"] == "test").sum()))
    samples, seed = settings.bootstrap_samples, settings.seed
    found = error_in_use(new, champion.entry.name, champion.test_mae, optimism, samples, seed)
    log.log(logging.WARNING if found.worse else logging.INFO, "error in use: %s", found.sentence)
    return found


def compare_with_champion(
    champion: Champion,
    predictions: pd.DataFrame,
    all_images: pd.DataFrame,
    slices: pd.DataFrame,
    settings: EvaluateSettings,
) -> ChampionComparison:
    """The candidate against the champion on the same test images.

    Test images that the champion was trained on, or a version that it started from, would favour it. They are counted,
    and left out of the comparison unless too few others remain to judge by.

    Args:
        predictions: of the test images: columns sha256, real_age, finetune, champion (years).
        all_images: of all splits: columns sha256, real_age.
        slices: of the test images, as `slice_labels` returns it.
    """
    before = champion.trained_on
    seen = predictions["sha256"].isin(before.loc[before["split"] != "test", "sha256"])
    remain = too_few(int((~seen).sum()), people_in((~seen).to_numpy(), people_of(predictions)))
    unseen = predictions if remain else predictions[~seen]
    drift = population_stability(own_images(before)["real_age"], all_images["real_age"], settings.bin_edges)
    paired = compare(unseen, settings.bin_edges, settings.comparison_samples, settings.seed)
    return ChampionComparison(
        **dict(paired),
        version=champion.entry.version,
        name=champion.entry.name,
        seen_in_training=int(seen.sum()),
        new_images=int((~all_images["sha256"].isin(before["sha256"])).sum()),
        drift=round(drift, 4),
        optimism=optimism_of(champion.manifest, paired.images, paired.people),
        slices=compare_slices(unseen, slices.loc[unseen.index], settings.comparison_samples, settings.seed),
    )


def optimism_of(manifest: Manifest, images: int, people: int | None = None) -> float | None:
    """By how much the MAE of this version on so many images looks too good, in years, since it was chosen by it.

    None where its gate did not say so: it was the first champion, or a version before 0.2 promoted it.

    Args:
        people: how many the images show; None where that is not known.
    """
    chosen = (manifest.gate or {}).get("selection")
    return Selection.model_validate(chosen).among(images, people) if chosen else None


def _draw(run: Workspace, folder: ImageFolder, predictions: pd.DataFrame, ages: pd.DataFrame, metrics: Metrics) -> None:
    faces = _faces(largest_errors(predictions), folder, "finetune", AGES)
    plots = {
        "interval_held": figures.interval_held(predictions, "finetune", metrics.interval.groups),
        "predicted_against_real": figures.predicted_against_real(predictions, "finetune"),
        "error_by_age": figures.error_by_age(ages),
        "error_histogram": figures.error_histogram(predictions),
        "worst_errors": figures.face_sheet(faces, title="Largest errors: real → predicted age"),
    }
    if metrics.image_slices:
        plots["error_by_image"] = figures.error_by_image(metrics.image_slices, metrics.finetune.mae.value)
    if metrics.weak_segments:
        faces = _faces(in_weak_segments(predictions), folder, "finetune", AGES)
        title = "Weak segments, one in a row: real → predicted age"
        plots["weak_segments"] = figures.face_sheet(faces, title=title, columns=SEGMENT_FACES)
    for name, figure in plots.items():
        figures.save(figure, run.output_dir / f"{name}.png")


def _draw_comparison(
    run: Workspace, champion: Champion, comparison: ChampionComparison, all_images: pd.DataFrame
) -> None:
    before, now = own_images(champion.trained_on)["real_age"], all_images["real_age"]
    drift = figures.age_drift(before, now, comparison.drift, champion=champion.entry.name)
    figures.save(drift, run.output_dir / "age_drift.png")
    figures.save(figures.difference_by_age(comparison), run.output_dir / "against_champion.png")


def _draw_changed_faces(run: Workspace, champion: Champion, folder: ImageFolder, predictions: pd.DataFrame) -> None:
    """Two sheets: the test images whose error grew most against the champion, and those where it shrank most."""
    for name, chosen, title in (("got_worse", got_worse, "worse"), ("got_better", got_better, "better")):
        rows = chosen(predictions)
        columns = (rows[column] for column in ("file_name", "real_age", "champion", "finetune"))
        faces = [
            (load_accepted(folder.path(file), 112), f"{real:g}: {before:.0f} → {after:.0f}")
            for file, real, before, after in zip(*columns, strict=True)
        ]
        if faces:
            title = f"Predicted {title}. Real age: {champion.entry.name} → candidate"
            figures.save(figures.face_sheet(faces, title=title), run.output_dir / f"{name}.png")


def _write_label_issues(run: Workspace, folder: ImageFolder) -> None:
    """The labels that disagree most with their out-of-fold age, for a labeller to check.

    Without those that a person confirmed. Pages ask the store again what is confirmed, also where this stage is reused.
    """
    if "out_of_fold.csv" not in run.require_record("baseline").outputs:
        return  # its features had no room in the cache
    table = pd.read_csv(run.input("baseline", "out_of_fold.csv"), dtype={"file_name": "str"}, keep_default_na=False)
    ranked, confirmed = rank_by_label_error(table), confirmed_labels(run.store)
    is_open = [label_key(*label) not in confirmed for label in zip(ranked["sha256"], ranked["real_age"], strict=True)]
    issues = ranked[is_open].head(LABELS_TO_LOOK_AT)
    (run.output_dir / "labels_to_look_at.csv").write_text(as_csv(issues))
    found = _label_issues(issues, run, folder)
    (run.output_dir / "labels_to_look_at.json").write_bytes(found.to_bytes())
    (run.output_dir / "labels_to_look_at_tasks.json").write_bytes(to_json(_tasks(found, run.key)))
    faces = _faces(first_label_issues(issues), folder, "other_age", "{real:g}, or {other:.0f}?")
    sheet = figures.face_sheet(faces, title="Labels to look at: label, or other age?")
    figures.save(sheet, run.output_dir / "labels_to_look_at.png")


def _label_issues(issues: pd.DataFrame, run: Workspace, folder: ImageFolder) -> LabelIssues:
    """The rows for the page, with lines and images, and what is new since the run before."""
    accepted = read_accepted(run)
    lines = dict(zip(accepted["file_name"], accepted["line"], strict=True))
    known, previous = set(), previous_run(run, "evaluate")
    if previous and "labels_to_look_at.json" in previous.require_record("evaluate").outputs:
        file = previous.input("evaluate", "labels_to_look_at.json")
        known = {issue.label for issue in LabelIssues.parse(file.read_bytes(), str(file)).issues}
    else:
        previous = None
    columns = (issues[name] for name in ("file_name", "sha256", "real_age", "other_age", "relative_error"))
    rows = [
        LabelIssue(
            file_name=name,
            line=lines[name],
            sha256=sha256,
            real_age=age,
            other_age=other_age,
            relative_error=error,
            new=label_key(sha256, age) not in known,
            image=thumbnail(name, folder, LABEL_ISSUE_PIXELS),
        )
        for name, sha256, age, other_age, error in zip(*columns, strict=True)
    ]
    return LabelIssues(issues=rows, previous_run=previous.key if previous else "")


def _tasks(found: LabelIssues, run: str) -> list[dict[str, Any]]:
    """The list as tasks for Label Studio; a label that is found right there is confirmed by `labels merge`."""
    return [
        task(
            issue.image,
            issue.other_age,
            f"out of fold, {run}",
            issue.model_dump(include={"file_name", "line", "sha256", "real_age"}) | {"run": run},
        )
        for issue in found.issues
    ]


def _faces(rows: pd.DataFrame, folder: ImageFolder, other: str, caption: str) -> list[tuple[np.ndarray, str]]:
    """The images of the rows, each captioned with its real age and the age in the column `other`."""
    return [
        (load_accepted(folder.path(name), 112), caption.format(real=real, other=age))
        for name, real, age in zip(rows["file_name"], rows["real_age"], rows[other], strict=True)
    ]


def _summary(metrics: Metrics) -> Summary:
    champion, in_use = metrics.champion, metrics.in_use
    return {
        "predict_the_median_mae": metrics.predict_the_median.mae,
        "baseline_mae": metrics.baseline.mae.value,
        "finetune_mae": metrics.finetune.mae.value,
        "finetune_cs5": metrics.finetune.cs5.value,
        "test_images": metrics.images,
        **({"champion": champion.name, "champion_mae": champion.champion_mae} if champion else {}),
        **({"champion_mae_in_use": in_use.mae.value, "in_use": in_use.model_dump(mode="json")} if in_use else {}),
    }
