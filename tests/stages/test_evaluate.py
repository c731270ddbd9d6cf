"""The stage `evaluate`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.config import EvaluateSettings
from age_tasks.environment import Locations
from age_tasks.maintenance.reindex import reindex
from age_tasks.registry.decisions import decisions
from age_tasks.registry.promotions import Manifest, Promotion, promote, publish_version
from age_tasks.runs.run import Workspace, open_run
from age_tasks.stages._inputs import scored_by_champion
from age_tasks.stages.evaluate import (
    Champion,
    compare_with_champion,
    measure_in_use,
    optimism_of,
    with_image_slices,
)
from tests.support.metrics import metrics_of
from tests.support.stages import run_stages, table


def test_evaluation_measures_the_same_errors_as_training(finished: Workspace):
    metrics = json.loads(finished.input("evaluate", "metrics.json").read_text())
    for stage in ("baseline", "finetune"):
        trained = json.loads(finished.input(stage, f"{stage}_test_metrics.json").read_text())
        assert metrics[stage]["mae"]["value"] == pytest.approx(trained["test_mae"], abs=0.02)
    assert table(finished, "evaluate", "by_age.csv")["images"].sum() == metrics["images"]


def test_label_issues_are_listed_worst_first(finished: Workspace):
    suspects = table(finished, "evaluate", "labels_to_look_at.csv")
    rows = sum(len(table(finished, "split", f"{name}.csv")) for name in ("train", "val", "test"))
    assert len(suspects) == min(rows, 200)
    assert suspects["relative_error"].is_monotonic_decreasing
    assert "Labels to look at" in finished.input("publish", "report.html").read_text()


def test_test_images_are_sliced_by_what_was_measured_of_them(finished: Workspace):
    metrics = json.loads(finished.input("evaluate", "metrics.json").read_text())
    accepted = table(finished, "validate", "accepted.csv").set_index("file_name")
    predictions = table(finished, "evaluate", "predictions.csv").set_index("file_name")
    tested = accepted.loc[predictions.index]
    assert predictions["slice:image brightness"].tolist() == tested["brightness"].tolist()
    assert predictions["slice:image size"].tolist() == tested[["width", "height"]].min(axis=1).tolist()
    found = {(each["column"], each["value"]): each["images"] for each in metrics["image_slices"]}
    for column in {column for column, _ in found}:
        assert sum(images for name, images in found.items() if name[0] == column) == metrics["images"]
    assert {column for column, _ in found} >= {"image brightness", "image sharpness"}
    assert metrics["slices"] == []  # those that the gate judges by
    assert metrics["weak_segments"] is None  # too few images
    assert "Errors by image quality" in finished.input("publish", "report.html").read_text()


def test_predictions_of_a_snapshot_of_version_0_1_are_sliced_by_size_only():
    predictions = pd.DataFrame({"file_name": ["b", "a"], "finetune": [1.0, 2.0]})
    accepted = pd.DataFrame({"file_name": ["a", "b", "c"], "width": [200, 90, 1], "height": [100, 300, 1]})
    found = with_image_slices(predictions, accepted)
    assert found.to_dict("list") == predictions.to_dict("list") | {"slice:image size": ["90", "100"]}


def test_labels_to_look_at_are_tasks_for_label_studio_too(finished: Workspace):
    tasks = json.loads(finished.input("evaluate", "labels_to_look_at_tasks.json").read_text())
    suspects = table(finished, "evaluate", "labels_to_look_at.csv")
    assert [task["data"]["file_name"] for task in tasks] == suspects["file_name"].tolist()
    assert [task["data"]["real_age"] for task in tasks] == suspects["real_age"].tolist()
    assert {task["data"]["run"] for task in tasks} == {"finished"}


def champion_trained_on(images: pd.DataFrame, folder: Path, gate: dict | None = None) -> Champion:
    """A champion that is known by its files only; it is not scored."""
    images.to_csv(folder / "trained_on.csv", index=False)
    at = "2026-11-26T10:00:00+00:00"
    promotion = Promotion("key", "monday-0a1b", 3, at, "ann", "better", "monday", None, False)
    return Champion(promotion, folder, Manifest(version="monday-0a1b", files={}, gate=gate))


def test_the_champion_is_scored_on_all_images_that_are_new_to_it_and_on_the_test_images():
    rows = {"train": ["a", "b"], "val": ["c"], "test": ["d", "e"]}
    splits = {name: pd.DataFrame({"sha256": images, "real_age": 30.0}) for name, images in rows.items()}
    scored = scored_by_champion(splits, pd.DataFrame({"sha256": ["a", "d", "gone"]}))
    assert scored[["sha256", "in_split", "new_to_champion"]].to_numpy().tolist() == [
        ["b", "train", True],
        ["c", "val", True],
        ["d", "test", False],
        ["e", "test", True],
    ]


def test_the_error_in_use_is_measured_beside_the_test_mae_that_was_published(tmp_path: Path):
    tested = pd.DataFrame({"sha256": ["a", "b"], "split": "test"})
    champion = champion_trained_on(tested, tmp_path, gate={"selection": {"optimism": 0.12, "images": 1}})
    names = [f"{number:03d}.jpg" for number in range(40)]
    new = pd.DataFrame({"file_name": names, "sha256": names, "in_split": "train", "real_age": 30.0})
    new = new.assign(champion=30.0 + np.arange(40) % 3)
    assert measure_in_use(champion, new.head(0), tmp_path, EvaluateSettings()) is None
    assert not (tmp_path / "error_in_use.csv").exists()
    assert measure_in_use(champion, new, tmp_path, EvaluateSettings()).test_mae is None  # lost
    published = metrics_of()
    (tmp_path / "metrics.json").write_bytes(published.to_bytes())
    found = measure_in_use(champion, new, tmp_path, EvaluateSettings())
    assert (found.name, found.images, found.mae.value, found.worse) == ("v3", 40, 0.975, False)
    assert (found.test_mae, found.optimism) == (published.finetune.mae, 0.06)  # one of two test images chose it
    assert pd.read_csv(tmp_path / "error_in_use.csv")["champion"].tolist() == new["champion"].tolist()


def test_images_of_all_splits_that_are_new_to_the_champion_give_its_error_in_use(
    copied: Locations, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    with open_run("finished", copied) as run:
        splits = pd.concat([table(run, "split", f"{name}.csv").assign(split=name) for name in ("train", "val", "test")])
        known = splits.iloc[1::2]
        known.to_csv(tmp_path / "trained_on.csv", index=False)
        new = splits[~splits["sha256"].isin(known["sha256"])]  # some images are copies of others
        (tmp_path / "metrics.json").write_bytes(metrics_of().to_bytes())
        files = {name: tmp_path / name for name in ("trained_on.csv", "metrics.json")}
        files["model.keras"] = run.input("baseline", "model.keras")
        facts = {"run": "x", "test_mae": 7.065, "augmentation": run.config().augmentation.model_dump()}
        publish_version(run.store, "older", files, facts)
        promote(run.store, "older", "for the test", run="x")
    run_stages("finished", "demo", {}, first="evaluate", last="gate")
    with open_run("finished", copied) as run:
        scored = table(run, "evaluate", "error_in_use.csv")
        assert sorted(scored["sha256"]) == sorted(new["sha256"])
        assert set(scored["in_split"]) == {"train", "val", "test"}
        found = run.require_record("evaluate").summary["in_use"]
        assert found["mae"]["value"] == pytest.approx((scored["champion"] - scored["real_age"]).abs().mean(), abs=1e-3)
        assert (found["name"], found["images"], found["test_mae"]["value"]) == ("v2", len(new), 7.065)
        assert "0 to compute" in caplog.text  # the baseline's training has computed the features
        assert "error in use: on the" in caplog.text
        reindex(run.store)
        kept = decisions(run.store)[-1].in_use
        assert (kept.name, kept.images, kept.mae.value) == ("v2", len(new), found["mae"]["value"])


@pytest.mark.parametrize(("seen", "compared"), [(0, 100), (70, 30), (71, 100)])
def test_test_images_that_the_champion_was_trained_on_are_left_out_if_enough_remain(
    seen: int, compared: int, tmp_path: Path
):
    rng = np.random.default_rng(1)
    real = rng.uniform(5, 80, 100)
    names = [f"{number:064x}" for number in range(100)]
    table = pd.DataFrame({"sha256": names, "real_age": real, "finetune": real + 1, "champion": real + 2})
    before = table[["sha256", "real_age"]].assign(split=["train"] * seen + ["test"] * (100 - seen)).head(90)
    unchanged = table.copy()
    none = pd.DataFrame(index=table.index)
    found = compare_with_champion(champion_trained_on(before, tmp_path), table, table, none, EvaluateSettings())
    assert (found.seen_in_training, found.images, found.new_images, found.name) == (seen, compared, 10, "v3")
    assert (found.value, found.candidate_mae, found.champion_mae) == (-1, 1, 2)
    pd.testing.assert_frame_equal(table, unchanged)


@pytest.mark.parametrize(("people", "compared"), [(9, 100), (10, 50), (None, 50)])
def test_test_images_that_the_champion_was_trained_on_are_kept_if_the_others_show_few_people(
    people: int | None, compared: int, tmp_path: Path
):
    rng = np.random.default_rng(1)
    real = rng.uniform(5, 80, 100)
    names = [f"{number:064x}" for number in range(100)]
    table = pd.DataFrame({"sha256": names, "real_age": real, "finetune": real + 1, "champion": real + 2})
    if people:
        table["person"] = [f"seen {number}" for number in range(50)] + [f"new {n % people}" for n in range(50)]
    before = table[["sha256", "real_age"]].assign(split=["train"] * 50 + ["test"] * 50)
    none = pd.DataFrame(index=table.index)
    found = compare_with_champion(champion_trained_on(before, tmp_path), table, table, none, EvaluateSettings())
    assert (found.seen_in_training, found.images) == (50, compared)


@pytest.mark.parametrize(("people", "optimism"), [(None, 0.06), (50, 0.12), (100, 0.06), (40, 0.12)])
def test_what_a_champion_owes_to_its_selection_is_shared_out_among_people_where_they_are_known(
    people: int | None, optimism: float
):
    """On twice as many images as chose it, of 50 people."""
    gate = {"selection": {"optimism": 0.12, "images": 1000, "people": 50}}
    assert optimism_of(Manifest(version="monday-0a1b", files={}, gate=gate), 2000, people) == optimism


def test_what_an_ancestor_of_the_champion_has_learned_is_neither_new_nor_counts_for_its_age_distribution(
    tmp_path: Path,
):
    names = [f"{number:064x}" for number in range(100)]
    real = np.linspace(5, 80, 100)
    table = pd.DataFrame({"sha256": names, "real_age": real, "finetune": real + 1, "champion": real + 2})
    own = pd.DataFrame({"sha256": names[10:], "real_age": real[10:], "split": "test"})
    before = pd.concat([own, pd.DataFrame({"sha256": names[:10], "real_age": 90.0, "split": "ancestor"})])
    none = pd.DataFrame(index=table.index)
    champion = champion_trained_on(before, tmp_path)
    found = compare_with_champion(champion, table, table, none, EvaluateSettings())
    assert (found.seen_in_training, found.images, found.new_images) == (10, 90, 0)
    today = table.iloc[10:]
    assert compare_with_champion(champion, today, today, none.iloc[10:], EvaluateSettings()).drift == 0
    assert not scored_by_champion({"train": table}, champion.trained_on)["new_to_champion"].any()


@pytest.mark.parametrize(
    ("gate", "images", "optimism"),
    [
        (None, 1000, None),
        ({"passed": True}, 1000, None),  # an earlier version, or the first champion
        ({"selection": None}, 1000, None),
        ({"selection": {"optimism": 0.12, "images": 1000}}, 1000, 0.12),
        ({"selection": {"optimism": 0.12, "images": 1000}}, 2000, 0.06),  # half of today's images chose it
        ({"selection": {"optimism": 0.12, "images": 1000}}, 500, 0.12),
    ],
)
def test_what_a_champion_owes_to_its_selection_is_known_from_its_gate(gate: dict | None, images: int, optimism: float):
    assert optimism_of(Manifest(version="monday-0a1b", files={}, gate=gate), images) == optimism
