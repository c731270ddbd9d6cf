"""What `baseline` and `finetune` have in common, and whole recipes."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from age_tasks.data.decoding import load_rgb
from age_tasks.environment import Locations
from age_tasks.runs.run import Workspace, open_run
from age_tasks.stages._inputs import images_of
from tests.support.settings import QUICK
from tests.support.stages import run_stages, table


def test_training_keeps_the_best_epoch(finished: Workspace):
    for stage in ("baseline", "finetune"):
        history = table(finished, stage, "history.csv")
        metrics = json.loads(finished.input(stage, f"{stage}_test_metrics.json").read_text())
        assert metrics["val_mae"] == pytest.approx(history["val_mae"].min(), abs=1e-3)


def test_the_saved_model_predicts_from_pixels_what_training_predicted_from_cached_features(finished: Workspace):
    predictions = table(finished, "evaluate", "predictions.csv").head(8)
    folder = images_of(finished)
    pixels = np.stack([load_rgb(folder.path(name), 64) for name in predictions["file_name"]]).astype("float32")
    for stage in ("baseline", "finetune"):
        model = keras.models.load_model(finished.input(stage, "model.keras"), safe_mode=True)
        years = model.predict(pixels, verbose=0).ravel()
        assert np.abs(years - predictions[stage].to_numpy()).max() < 0.05


def test_the_strong_recipe_trains_a_model_that_averages_an_image_and_its_mirror(copied: Locations):
    small = {"model.image_size": 64, "baseline.epochs": 3, "finetune.epochs": 1, "augmentation.train_augmentations": 3}
    small["finetune.seeds"] = 2
    kept = {name: value for name, value in QUICK.items() if "max" in name or "bootstrap" in name}
    run_stages("strong", "strong", small | kept, last="evaluate")
    with open_run("strong", copied) as run:
        assert run.record("baseline").reused_from is None
        model = keras.models.load_model(run.input("finetune", "model.keras"), safe_mode=True)
        predictions, folder = table(run, "evaluate", "predictions.csv").head(8), images_of(run)
        pixels = np.stack([load_rgb(folder.path(name), 64) for name in predictions["file_name"]]).astype("float32")
    years = model.predict(pixels, verbose=0).ravel()
    mirrored = model.predict(pixels[:, :, ::-1], verbose=0).ravel()
    assert np.abs(years - predictions["finetune"].to_numpy()).max() < 0.05
    assert np.abs(years - mirrored).max() < 0.01


def test_the_reference_recipe_trains_resnet50_from_a_weights_file(copied: Locations, tmp_path: Path):
    weights = tmp_path / "resnet50.weights.h5"
    keras.applications.ResNet50(include_top=False, weights=None).save_weights(weights)
    given = {"model.weights": str(weights), "model.image_size": 32, "baseline.epochs": 1, "finetune.epochs": 1}
    run_stages("reference", "reference", QUICK | given | {"gate.max_test_mae": 0.01})  # or it would be exported: slow
    with open_run("reference", copied) as run:
        assert run.settings().config["model"]["backbone"] == "resnet50"
        assert run.require_record("publish").summary["report"].endswith("reports/reference.html")
        config = run.settings().config
    assert (config["finetune"]["last_layers"], config["finetune"]["learning_rate"]) == (30, 5e-5)
