"""Rank unlabelled images: which a person labels next, so that the model learns most. No stage of a run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from age_tasks.data.corrections import UNLABELLED
from age_tasks.data.image_folder import ImageFolder, name_key, name_problem
from age_tasks.data.probes import probe_images
from age_tasks.environment import Locations
from age_tasks.errors import LabelsError, NotFoundError
from age_tasks.evaluation.conformal import bounds, possible_ages
from age_tasks.evaluation.labelling_order import labelling_order
from age_tasks.evaluation.results import IntervalGroup
from age_tasks.progress import Progress
from age_tasks.registry.label_ranking import NEXT, TABLE, TASKS, LabelRanking, RankedImage, put_ranking
from age_tasks.registry.promotions import champion, fetch_version
from age_tasks.reports.label_studio import task
from age_tasks.reports.safe_csv import as_csv
from age_tasks.reports.thumbnails import thumbnail
from age_tasks.runs.listing import newest_run
from age_tasks.runs.records import Summary, now
from age_tasks.runs.run import Workspace, open_run
from age_tasks.serving.found_images import images_below
from age_tasks.stages._inputs import images_of, read_accepted
from age_tasks.store import open_store
from age_tasks.store.base import to_json

log = logging.getLogger(__name__)

RANKED = 1000  # images; the first of them are a ranking too
FACES_ON_PAGE = 24
FACE_PIXELS = 224


@dataclass(frozen=True)
class _Candidates:
    """Images that have no label yet: columns file_name (in `folder`), sha256, name (as the labels would call it).

    Left out are `unreadable` ones, and those whose name is `taken` by a labelled image with another content.
    """

    rows: pd.DataFrame
    folder: ImageFolder
    found: int
    unreadable: int
    taken: int


def label_next(unlabelled: str, locations: Locations) -> Summary:
    """Rank the unlabelled images, and put the ranking into the store: for the page, as a table and as tasks.

    Args:
        unlabelled: a folder of images, or a table with a column `file_name`; a path or an `s3://` address. Images whose
            content is labelled already are passed over.

    Returns:
        How many images were found, unreadable, named as a labelled one, not labelled yet, and ranked; by which version.

    Raises:
        NotFoundError: no model has been promoted, or no labels have been accepted.
        LabelsError: no such folder or table, or none of its images can be read.
        StoreError: the store or a bucket can't be read.
    """
    store = open_store(locations.store)
    entry, key = champion(store), newest_run(store, ["validate"])
    if entry is None or key is None:
        raise NotFoundError(f"no model has been promoted yet in {store.url}; `age-tasks run` trains one")
    with open_run(key, locations) as run:
        labelled, images = read_accepted(run), images_of(run)
        candidates = _candidates(unlabelled, images, labelled, locations.cache)
        rows = _ranked(run, entry.version, candidates, labelled, images)
        faces = [thumbnail(name, candidates.folder, FACE_PIXELS) for name in rows["file_name"]]
        ranking = LabelRanking(
            version=entry.name,
            run=key,
            unlabelled=unlabelled,
            images=len(candidates.rows),
            unreadable=candidates.unreadable,
            taken=candidates.taken,
            at=now(),
            ranked=_for_page(rows, faces),
        )
        put_ranking(store, ranking, _tasks(rows, faces, entry.name), _table(rows))
    log.info("what to label next: %s and %s", store.where(NEXT + TABLE), store.where(NEXT + TASKS))
    return {
        "version": entry.name,
        "images": candidates.found,
        "unreadable": candidates.unreadable,
        "name_taken": candidates.taken,
        "not_labelled": len(candidates.rows),
        "ranked": len(rows),
    }


def _candidates(unlabelled: str, images: ImageFolder, labelled: pd.DataFrame, cache: Path) -> _Candidates:
    """The images that can be read and whose content has no label yet, each content once.

    Args:
        images: the folder that the labels refer to; a name below it is written as the labels write it.
        labelled: columns file_name, sha256 of the labelled images.
    """
    folder, names = images_below(unlabelled, cache)
    probes, _ = probe_images(folder, names, cache, Progress("images"))
    readable = [(name, probes[name].sha256) for name in names if probes[name].state == "ok"]
    if not readable:
        problem = probes[names[0]].problem
        raise LabelsError(f"{unlabelled}: none of {len(names)} images can be read, such as {names[0]}: {problem}")
    rows = pd.DataFrame(readable, columns=["file_name", "sha256"])
    rows = rows[~rows["sha256"].isin(labelled["sha256"])].drop_duplicates("sha256", ignore_index=True)
    below = images.real_names(f"{folder.identity.rstrip('/')}/{name}" for name in rows["file_name"])
    written = [
        written if not name_problem(written) else name
        for name, written in zip(rows["file_name"], below.values(), strict=True)
    ]
    rows = rows.assign(name=written)
    taken = rows["name"].map(name_key).isin(set(labelled["file_name"].map(name_key)))
    if taken.any():
        log.warning(
            "%d images have the name of a labelled image, such as %s, and are left out: give them other names",
            taken.sum(),
            rows.loc[taken, "name"].iloc[0],
        )
    unread = len(names) - len(readable)
    return _Candidates(rows[~taken].reset_index(drop=True), folder, len(names), unread, int(taken.sum()))


def _ranked(
    run: Workspace, version: str, candidates: _Candidates, labelled: pd.DataFrame, images: ImageFolder
) -> pd.DataFrame:
    """The candidates to label next, in this order, with the columns age, low, high (years) and distance."""
    rows = candidates.rows
    if rows.empty:
        return rows.assign(age=0.0, low=0.0, high=0.0, distance=0.0)
    # Imported here: TensorFlow takes seconds, and what can be refused has been by now.
    from age_tasks.training.inference import ages_and_features
    from age_tasks.training.network import load_network

    fetched, compute = run.cache / "versions" / version, run.config().compute
    manifest = fetch_version(run.store, version, fetched)
    network = load_network(fetched / "model.keras")
    _, known = ages_and_features(network, labelled, images, run.cache, compute)
    computed, features = ages_and_features(network, rows, candidates.folder, run.cache, compute)
    ages = possible_ages(computed)
    low, high = bounds(ages, [IntervalGroup.model_validate(group) for group in manifest.interval])
    order, distance = labelling_order(features, high - low, known, RANKED)
    years = {"age": ages, "low": low, "high": high}
    found = rows.assign(**{name: each.astype("float64").round(1) for name, each in years.items()}).iloc[order]
    return found.assign(distance=distance.round(3))


def _for_page(rows: pd.DataFrame, faces: Sequence[str | None]) -> list[RankedImage]:
    table = rows.drop(columns="file_name").rename(columns={"name": "file_name"})
    shown = [*faces[:FACES_ON_PAGE], *[None] * (len(faces) - FACES_ON_PAGE)]
    records = table.to_dict("records")
    return [RankedImage.model_validate(row | {"image": face}) for row, face in zip(records, shown, strict=True)]


def _tasks(rows: pd.DataFrame, faces: Sequence[str | None], version: str) -> bytes:
    """The ranking as tasks for Label Studio, the champion's age as pre-annotation."""
    columns = (rows[column] for column in ("name", "sha256", "distance", "age"))
    found = [
        task(face, age, version, {"file_name": name, "sha256": sha256, "distance": distance, UNLABELLED: True})
        for face, name, sha256, distance, age in zip(faces, *columns, strict=True)
    ]
    return to_json(found)


def _table(rows: pd.DataFrame) -> bytes:
    """The ranking as CSV, with an empty column for the age that a person gives."""
    table = pd.DataFrame({"file_name": rows["name"], "real_age": "", "predicted_age": rows["age"]})
    return as_csv(table.join(rows[["low", "high", "distance", "sha256"]]).assign(**{UNLABELLED: "true"})).encode()
