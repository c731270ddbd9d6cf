"""Every stage on drawn faces, as the command line runs it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.data.decoding import load_rgb
from age_tasks.environment import Locations
from age_tasks.evaluation.label_issues import rank_by_label_error
from age_tasks.pipeline import STAGES
from age_tasks.registry.promotions import champion, fetch_version
from age_tasks.reports.run_summary import summary_table
from age_tasks.runs.run import Workspace, open_run
from age_tasks.serving.litert import ages
from age_tasks.stages._inputs import images_of
from tests.support.settings import QUICK, overrides, point_at


def table(run: Workspace, stage: str, name: str) -> pd.DataFrame:
    return pd.read_csv(run.input(stage, name), keep_default_na=False)


def test_every_stage_leaves_a_record(finished: Workspace):
    for stage in STAGES:
        record = finished.require_record(stage)
        assert re.fullmatch("[0-9a-f]{64}", record.fingerprint)
        assert record.seconds >= 0
        assert record.peak_memory_gb > 0
        assert "keras" in record.versions


def test_only_training_brings_tensorflow():
    modules = [f"age_tasks.stages.{stage}" for stage in STAGES if stage not in {"baseline", "finetune"}]
    program = f"import sys, {', '.join(modules)}; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"


def test_snapshot_freezes_the_labels(finished: Workspace, sample):
    assert finished.input("snapshot", "labels.csv").read_bytes() == sample.labels.read_bytes()
    assert len(table(finished, "snapshot", "snapshot.csv")) == sample.rows


def test_validate_sets_aside_each_broken_row_with_its_reason(finished: Workspace):
    found = table(finished, "validate", "quarantine.csv").set_index("file_name")
    reasons = found["reason"].to_dict()
    assert reasons["f-text.jpg"] == "real_age 'unknown' is not a number"
    assert reasons["f-999.jpg"] == "real_age 999 is not between 0 and 120 years"
    assert reasons["f-negative.jpg"] == "real_age -3 is not between 0 and 120 years"
    assert reasons["f-tiny.jpg"] == "12 x 12 pixels; each side needs at least 32"
    assert "leaves the images folder" in reasons["../secret.jpg"]
    assert "no such file" in reasons["f-missing.jpg"]
    assert "several ages" in reasons["f-copy.jpg"]
    assert found.loc["00001.jpg", "fault"].tolist() == ["one name, two ages"] * 2
    assert found.loc["00000.jpg", "fault"] == "listed twice"
    assert len(found) == 17


def test_nothing_is_lost_between_snapshot_and_validate(finished: Workspace):
    lines = [set(table(finished, "validate", name)["line"]) for name in ("accepted.csv", "quarantine.csv")]
    assert not lines[0] & lines[1]
    assert lines[0] | lines[1] == set(table(finished, "snapshot", "snapshot.csv")["line"])
    assert {f"g-{kind}.jpg" for kind in ("png", "grey", "cmyk", "16bit", "exif", "copy", "near")} <= set(
        table(finished, "validate", "accepted.csv")["file_name"]
    )


def test_pages_are_complete_without_the_network(finished: Workspace):
    pages = [
        (stage, name)
        for stage in ("validate", "evaluate", "publish")
        for name in finished.require_record(stage).outputs
        if name.endswith(".html")
    ]
    assert ("validate", "index.html") in pages
    assert ("validate", "data_docs/index.html") in pages
    assert len(pages) >= 7
    for stage, name in pages:
        html = finished.input(stage, name).read_text()
        assert not re.search(r"""<(?:link|script|img|iframe)\b[^>]*(?:src|href)=["']?(?:https?:)?//""", html), name


def test_data_docs_show_every_expectation(finished: Workspace):
    names = [name for name in finished.require_record("validate").outputs if "data_docs/validations/rows" in name]
    assert len(names) == 1
    html = finished.input("validate", names[0]).read_text()
    for finding in json.loads(finished.input("validate", "expectations.json").read_text())[:13]:
        assert finding["description"] in html


def test_splits_share_no_content(finished: Workspace):
    parts = [set(table(finished, "split", f"{name}.csv")["sha256"]) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts))
    summary = json.loads(finished.input("split", "split_summary.json").read_text())
    assert abs(summary["test"]["share"] - 0.15) < 0.02


def test_training_keeps_the_best_epoch(finished: Workspace):
    for stage in ("baseline", "finetune"):
        history = table(finished, stage, "history.csv")
        metrics = json.loads(finished.input(stage, f"{stage}_test_metrics.json").read_text())
        assert metrics["val_mae"] == pytest.approx(history["val_mae"].min(), abs=1e-3)


def test_the_saved_model_agrees_with_the_cached_path_on_raw_pixels(finished: Workspace):
    predictions = table(finished, "evaluate", "predictions.csv").head(8)
    folder = images_of(finished)
    pixels = np.stack([load_rgb(folder.path(name), 64) for name in predictions["file_name"]]).astype("float32")
    for stage in ("baseline", "finetune"):
        model = keras.models.load_model(finished.input(stage, "model.keras"), safe_mode=True)
        years = model.predict(pixels, verbose=0).ravel()
        assert np.abs(years - predictions[stage].to_numpy()).max() < 0.05


def test_finetuning_changed_the_last_layers_only(finished: Workspace):
    before, after = (
        keras.models.load_model(finished.input(stage, "model.keras"), safe_mode=True)
        for stage in ("baseline", "finetune")
    )
    changed = [
        one.name
        for one, other in zip(before.layers, after.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    ]
    assert "top" in changed
    assert not [name for name in changed if name.startswith(("stem", "block0", "block5")) or name.endswith("_bn")]


def test_evaluate_agrees_with_training(finished: Workspace):
    metrics = json.loads(finished.input("evaluate", "metrics.json").read_text())
    for stage in ("baseline", "finetune"):
        trained = json.loads(finished.input(stage, f"{stage}_test_metrics.json").read_text())
        assert metrics[stage]["mae"]["value"] == pytest.approx(trained["test_mae"], abs=0.02)
    assert table(finished, "evaluate", "by_age.csv")["images"].sum() == metrics["images"]


def test_labels_most_at_odds_with_their_faces_are_listed(finished: Workspace):
    suspects = table(finished, "evaluate", "labels_to_look_at.csv")
    rows = sum(len(table(finished, "split", f"{name}.csv")) for name in ("train", "val", "test"))
    assert len(suspects) == min(rows, 200)
    assert suspects["relative_error"].is_monotonic_decreasing
    assert "Labels to look at" in finished.input("publish", "report.html").read_text()


@pytest.fixture
def elsewhere(finished: Workspace, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    """A copy of the finished run's store and cache."""
    point_at(monkeypatch, tmp_path, sample.labels)
    shutil.copytree(finished.store.where("runs").removesuffix("runs"), tmp_path / "store")
    shutil.copytree(finished.cache, tmp_path / "cache")
    return Locations.from_env()


def carry_on(key: str, recipe: str, settings: dict) -> None:
    for stage in STAGES:
        given = ["--recipe", recipe, *overrides(settings)] if stage == "snapshot" else []
        assert main([stage, "--run", key, *given]) == 0


def test_a_rerun_on_unchanged_labels_reuses_every_stage(elsewhere: Locations, capsys: pytest.CaptureFixture[str]):
    carry_on("again", "demo", QUICK)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each.get("reused_from") for each in said] == [None, *["finished"] * 7]
    with open_run("again", elsewhere) as run:
        assert run.input("finetune", "model.keras").stat().st_size > 1_000_000
        assert "reused from finished" in summary_table(run)


def test_a_warm_start_goes_on_from_the_champion_and_has_to_beat_it(elsewhere: Locations):
    carry_on("warm", "demo", QUICK | {"finetune.start_from": "champion", "finetune.epochs": 1})
    with open_run("warm", elsewhere) as run:
        assert run.record("baseline").reused_from == "finished"
        assert run.record("finetune").summary["started_from"] == "v1"
        first = table(run, "finetune", "history.csv").iloc[0]
        old = Workspace("finished", run.store, run.cache, run.scratch / "old")
        before = table(old, "finetune", "history.csv").iloc[0]
        assert first["mae"] < before["mae"]  # in the first epoch the weights are those of a trained model already
        compared = json.loads(run.input("evaluate", "metrics.json").read_text())["champion"]
        theirs, ours = table(run, "evaluate", "predictions.csv")["champion"], table(old, "evaluate", "predictions.csv")
        assert theirs.to_numpy() == pytest.approx(ours["finetune"].to_numpy(), abs=0.01)
        assert (compared["name"], compared["seen_in_training"], compared["new_images"]) == ("v1", 0, 0)
        assert "champion, v1" in run.input("publish", "report.html").read_text()
        rules = json.loads(run.input("gate", "gate.json").read_text())["rules"]
        assert any("champion" in rule["name"] for rule in rules)
        assert (champion(run.store).run == "warm") == run.require_record("gate").summary["passed"]


def test_labels_moved_by_forty_years_are_those_to_look_at(elsewhere: Locations, tmp_path: Path, monkeypatch):
    before = pd.read_csv(elsewhere.labels, dtype="str", keep_default_na=False)
    good = before[before["file_name"].str.fullmatch(r"\d+\.jpg") & ~before["file_name"].duplicated(keep=False)]
    moved = good.sample(10, random_state=1)["file_name"]
    changed = before["real_age"].mask(before["file_name"].isin(moved), before["real_age"].map(_forty_years_off))
    before.assign(real_age=changed).to_csv(tmp_path / "labels.csv", index=False)
    monkeypatch.setenv("AGE_LABELS", str(tmp_path / "labels.csv"))
    monkeypatch.setenv("AGE_IMAGES", elsewhere.images)
    for stage in ("snapshot", "validate", "split", "baseline"):
        given = ["--recipe", "demo", *overrides(QUICK | {"baseline.epochs": 1})] if stage == "snapshot" else []
        assert main([stage, "--run", "moved", *given]) == 0
    with open_run("moved", elsewhere) as run:
        first = rank_by_label_error(table(run, "baseline", "out_of_fold.csv"))["file_name"].head(20)
    found = moved.isin(first).sum()
    assert found / len(moved) >= 0.7  # recall among the first 20 of 150: by chance 0.13
    assert moved.isin(first.head(10)).sum() / 10 >= 0.5  # precision of the first 10: by chance 0.07


def _forty_years_off(age: str) -> str:
    try:
        return f"{float(age) + (40 if float(age) < 50 else -40):g}"
    except ValueError:
        return age


def test_the_strong_recipe_at_small_size(elsewhere: Locations):
    small = {"model.image_size": 64, "baseline.epochs": 3, "finetune.epochs": 1, "augmentation.train_augmentations": 3}
    carry_on("strong", "strong", small | {name: QUICK[name] for name in QUICK if "max" in name or "boot" in name})
    with open_run("strong", elsewhere) as run:
        assert run.record("baseline").reused_from is None
        model = keras.models.load_model(run.input("finetune", "model.keras"), safe_mode=True)
        predictions, folder = table(run, "evaluate", "predictions.csv").head(8), images_of(run)
        pixels = np.stack([load_rgb(folder.path(name), 64) for name in predictions["file_name"]]).astype("float32")
    years = model.predict(pixels, verbose=0).ravel()
    mirrored = model.predict(pixels[:, :, ::-1], verbose=0).ravel()
    assert np.abs(years - predictions["finetune"].to_numpy()).max() < 0.05
    assert np.abs(years - mirrored).max() < 0.01


def test_the_reference_recipe_with_resnet50_from_a_weights_file(elsewhere: Locations, tmp_path: Path):
    weights = tmp_path / "resnet50.weights.h5"
    keras.applications.ResNet50(include_top=False, weights=None).save_weights(weights)
    given = {"model.weights": str(weights), "model.image_size": 32, "baseline.epochs": 1, "finetune.epochs": 1}
    carry_on("reference", "reference", QUICK | given)
    with open_run("reference", elsewhere) as run:
        assert run.settings().config["model"]["backbone"] == "resnet50"
        assert run.require_record("publish").summary["report"].endswith("reports/reference.html")
        config = run.settings().config
    assert (config["finetune"]["last_layers"], config["finetune"]["learning_rate"]) == (30, 5e-5)


def test_a_deal_with_other_settings_does_not_make_the_first_forgotten(elsewhere: Locations):
    for key, seed in (("another", 7), ("back", 42)):
        assert main(["snapshot", "--run", key, "--recipe", "demo", *overrides(QUICK | {"split.seed": seed})]) == 0
        assert main(["validate", "--run", key]) == 0
        assert main(["split", "--run", key, "--again"]) == 0
    with open_run("another", elsewhere) as run:
        assert run.record("split").summary["known"] == 0
    with open_run("back", elsewhere) as run:
        summary = run.record("split").summary
        assert summary["known"] == len(table(run, "validate", "accepted.csv"))


def test_a_champion_of_another_network_is_refused(elsewhere: Locations, capsys: pytest.CaptureFixture[str]):
    settings = QUICK | {"finetune.start_from": "champion", "model.dense_units": 8, "baseline.epochs": 1}
    for stage in ("snapshot", "validate", "split", "baseline"):
        given = ["--recipe", "demo", *overrides(settings)] if stage == "snapshot" else []
        assert main([stage, "--run", "other", *given]) == 0
    assert main(["finetune", "--run", "other"]) == 64
    assert "the champion v1 is another network" in capsys.readouterr().err


def test_publish_follows_the_gate(finished: Workspace):
    passed = finished.require_record("gate").summary["passed"]
    entry = champion(finished.store)
    assert (entry is not None) == passed
    assert not passed or (entry.run, entry.why) == ("finished", "gate passed: all 3 rules hold")
    report = finished.store.get("reports/finished.html").decode()
    assert ("Not published." in report) != passed
    assert "Age model report" in report


def test_the_published_version_comes_as_litert_too_with_the_same_ages(finished: Workspace, tmp_path: Path):
    listed = fetch_version(finished.store, champion(finished.store).version, tmp_path)
    assert (listed["input"]["shape"], listed["input"]["channels"]) == ([None, 64, 64, 3], "RGB")
    assert listed["export"]["largest_difference"] <= listed["export"]["bound"]
    assert finished.require_record("publish").summary["export"].startswith("same ages within 0.0")
    tested, folder = table(finished, "evaluate", "predictions.csv").head(5), images_of(finished)
    pixels = np.stack([load_rgb(folder.path(name), 64) for name in tested["file_name"]]).astype("float32")
    assert ages(tmp_path / "model.tflite", pixels) == pytest.approx(tested["finetune"].to_numpy(), abs=0.1)
    assert "runs in LiteRT" in finished.input("publish", "report.html").read_text()


def test_the_model_card_says_what_goes_in_and_out(finished: Workspace):
    card = finished.input("publish", "model_card.md").read_text()
    assert "(batch, 64, 64, 3)" in card
    assert "safe_mode=True" in card


def test_too_many_broken_rows_stop_the_run_with_its_page(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["snapshot", "--run", "bad", "--recipe", "demo", "--set", "validate.max_quarantine_fraction=0.02"]) == 0
    assert main(["validate", "--run", "bad"]) == 65
    said = capsys.readouterr().err
    assert "17 of 172 rows (9.9%) are broken; at most 2.0%" in said
    assert "f-text.jpg" in said
    with open_run("bad", Locations.from_env()) as run:
        record = run.record("validate")
        assert record.status == "failed"
        assert {"index.html", "quarantine.csv", "data_docs/index.html"} <= set(record.outputs)
        assert "Refused" in run.store.get("runs/bad/validate/index.html").decode()
    assert main(["split", "--run", "bad"]) == 66
    assert "validate failed" in capsys.readouterr().err


def test_labels_that_moved_are_refused(place: Path, finished: Workspace, monkeypatch: pytest.MonkeyPatch, capsys):
    lines = (finished.input("validate", "accepted.csv")).read_text().splitlines()
    settings = overrides({"validate.max_quarantine_fraction": 0.9})
    assert main(["snapshot", "--run", "first", "--recipe", "demo", *settings]) == 0
    assert main(["validate", "--run", "first"]) == 0
    images = Path(os.environ["AGE_LABELS"]).parent / "images"
    names = [line.split(",")[1] for line in lines[1:] if not line.split(",")[1].startswith("g-")]
    older = place / "labels.csv"
    older.write_text("file_name,real_age\n" + "".join(f"{name},{60 + i % 20}\n" for i, name in enumerate(names)))
    monkeypatch.setenv("AGE_LABELS", str(older))
    monkeypatch.setenv("AGE_IMAGES", str(images))
    assert main(["snapshot", "--run", "second", "--recipe", "demo", *settings]) == 0
    assert main(["validate", "--run", "second"]) == 65
    assert "Kolmogorov-Smirnov" in capsys.readouterr().err


def test_a_file_name_is_never_markup(place: Path, monkeypatch: pytest.MonkeyPatch):
    labels = place / "labels.csv"
    labels.write_text("file_name,real_age\n<script>alert(1)<.jpg,30\n")
    (place / "images").mkdir()
    monkeypatch.setenv("AGE_LABELS", str(labels))
    assert main(["snapshot", "--run", "x", "--recipe", "demo"]) == 0
    assert main(["validate", "--run", "x"]) == 65
    with open_run("x", Locations.from_env()) as run:
        for name in run.record("validate").outputs:
            if name.endswith(".html"):
                assert "<script>alert" not in run.store.get(f"runs/x/validate/{name}").decode()


def test_a_stage_by_hand_takes_the_newest_run_that_has_its_inputs(place: Path, caplog: pytest.LogCaptureFixture):
    assert main(["split"]) == 66
    settings = overrides(QUICK)
    for key in ("one", "two"):
        assert main(["snapshot", "--run", key, "--recipe", "demo", *settings]) == 0
    with caplog.at_level("INFO"):
        assert main(["validate"]) == 0
    assert "using the newest run with snapshot, two" in caplog.text


def test_outputs_that_were_tampered_with_are_not_used(place: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["snapshot", "--run", "x", "--recipe", "demo", *overrides(QUICK)]) == 0
    (place / "store" / "runs" / "x" / "snapshot" / "snapshot.csv").write_text("something else")
    assert main(["validate", "--run", "x"]) == 66
    assert "sha256 differs" in capsys.readouterr().err
