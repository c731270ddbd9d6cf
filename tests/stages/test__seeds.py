"""Fine-tuning with several seeds."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.cli.app import main
from age_tasks.data.decoding import load_rgb
from age_tasks.demo.synthetic_faces import Sample
from age_tasks.environment import Locations
from age_tasks.registry.promotions import champion, fetch_version
from age_tasks.runs.run import Workspace, open_run
from age_tasks.stages._inputs import images_of
from age_tasks.training.fit import fit
from age_tasks.training.network import load_network, suffixes
from tests.support.settings import QUICK, overrides, point_at
from tests.support.stages import run_stages, table

Log = pytest.LogCaptureFixture
TWO = QUICK | {"finetune.seeds": 2, "finetune.learning_rate": 1e-3}


@pytest.fixture(scope="module")
def place(prepared: Workspace, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache, and a store in which nothing has been promoted."""
    root = tmp_path_factory.mktemp("seeds")
    shutil.copytree(prepared.store.where("runs"), root / "store" / "runs")
    shutil.copytree(prepared.cache, root / "cache")
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, root, sample.labels)
        yield root


@pytest.fixture(scope="module")
def best(place: Path) -> Iterator[Workspace]:
    """A run whose fine-tuning has kept the better one of two seeds."""
    run_stages("best", "demo", TWO, last="finetune")
    with open_run("best", Locations.from_env()) as run:
        yield run


@pytest.fixture(scope="module")
def average(place: Path) -> Iterator[Workspace]:
    """A run that has published the average of the same two seeds."""
    run_stages("average", "demo", TWO | {"finetune.combine": "average"})
    with open_run("average", Locations.from_env()) as run:
        yield run


def metrics_of(run: Workspace) -> dict:
    return json.loads(run.input("finetune", "finetune_test_metrics.json").read_text())


def test_the_seed_with_the_lowest_validation_error_is_kept(best: Workspace):
    metrics, seeds = metrics_of(best), table(best, "finetune", "seeds.csv").set_index("seed")
    assert seeds.index.tolist() == [42, 43]
    assert seeds["val_mae"].nunique() == 2
    kept = seeds["val_mae"].idxmin()
    assert metrics["kept"] == f"seed {kept}"
    assert (metrics["val_mae"], metrics["test_mae"]) == pytest.approx(tuple(seeds.loc[kept, ["val_mae", "test_mae"]]))
    histories = table(best, "finetune", "seed_histories.csv")
    assert histories.groupby("seed")["val_mae"].min().to_numpy() == pytest.approx(seeds["val_mae"], abs=1e-3)
    of_kept = histories[histories["seed"] == kept].drop(columns="seed").reset_index(drop=True)
    pd.testing.assert_frame_equal(of_kept, table(best, "finetune", "history.csv"))


def test_mean_and_spread_of_the_seeds_are_reported(best: Workspace):
    metrics, seeds = metrics_of(best), table(best, "finetune", "seeds.csv")
    for name in ("val_mae", "test_mae"):
        assert metrics[f"{name}_mean"] == pytest.approx(seeds[name].mean(), abs=1e-3)
        assert metrics[f"{name}_sd"] == pytest.approx(seeds[name].std(), abs=1e-3)
    summary = best.require_record("finetune").summary
    assert {name: summary[name] for name in metrics if name != "each_seed"} == {
        name: value for name, value in metrics.items() if name != "each_seed"
    }


def test_a_seed_of_several_gives_the_same_training_as_alone(best: Workspace):
    run_stages("alone", "demo", TWO | {"finetune.seeds": 1, "finetune.seed": 43}, last="finetune")
    with open_run("alone", Locations.from_env()) as run:
        history = table(run, "finetune", "history.csv").drop(columns=["seconds", "input_seconds"])
        assert run.require_record("finetune").summary.keys().isdisjoint({"seeds", "kept", "test_mae_sd"})
        assert {"seeds.csv", "seed_histories.csv"}.isdisjoint(run.require_record("finetune").outputs)
    several = (
        table(best, "finetune", "seed_histories.csv")
        .query("seed == 43")
        .drop(columns=["seed", "seconds", "input_seconds"])
    )
    pd.testing.assert_frame_equal(several.reset_index(drop=True), history, rtol=1e-3)


def test_the_average_of_the_seeds_is_one_network_from_pixels(average: Workspace):
    network = load_network(average.input("finetune", "model.keras"))
    assert len(suffixes(network)) == 2
    predictions, folder = table(average, "finetune", "test_predictions.csv").head(8), images_of(average)
    pixels = np.stack([load_rgb(folder.path(name), 64) for name in predictions["file_name"]]).astype("float32")
    assert np.abs(network.predict(pixels, verbose=0).ravel() - predictions["age"].to_numpy()).max() < 0.05
    metrics = metrics_of(average)
    assert metrics["kept"] == "average of 2 seeds"
    assert metrics["test_mae"] <= metrics["test_mae_mean"] + 0.001  # as the absolute error is convex
    assert "average of 2 seeds" in average.input("publish", "report.html").read_text()


def test_the_average_of_the_seeds_is_published_with_its_litert_file(average: Workspace, tmp_path: Path):
    entry = champion(average.store)
    assert entry.run == "average"
    manifest = fetch_version(average.store, entry.version, tmp_path)
    assert {"model.keras", "model.tflite"} <= manifest.files.keys()
    assert average.require_record("publish").summary["export"].startswith("same ages within")


def test_the_average_of_the_seeds_predicts(average: Workspace, sample: Sample, capsys: pytest.CaptureFixture[str]):
    names = table(average, "finetune", "test_predictions.csv").head(2)
    assert main(["predict", *(str(sample.images / name) for name in names["file_name"])]) == 0
    said = capsys.readouterr().out
    assert all(f"{age:.1f}" in said for age in names["age"])


def test_the_average_of_the_seeds_is_a_champion_that_others_are_compared_with(
    average: Workspace, best: Workspace, caplog: Log
):
    caplog.set_level("INFO")
    run_stages("best", "demo", {}, first="evaluate", last="evaluate")
    scored = table(best, "evaluate", "predictions.csv")["champion"]
    assert scored.to_numpy() == pytest.approx(table(average, "evaluate", "predictions.csv")["finetune"], abs=0.01)
    assert "0 to compute" in caplog.text  # it shares the frozen prefix


def test_each_seed_of_a_warm_start_goes_on_from_a_network_of_the_average(average: Workspace, caplog: Log):
    warm = TWO | {"finetune.combine": "average", "finetune.start_from": "champion", "finetune.epochs": 1}
    warm |= {"finetune.learning_rate": 1e-7}  # what it ends with is what it began with
    caplog.set_level("INFO")
    assert main(["snapshot", "--run", "warm", "--recipe", "demo", *overrides(warm)]) == 0
    run_stages("warm", "demo", warm, first="validate", last="finetune")
    with open_run("warm", Locations.from_env()) as run:
        assert run.require_record("finetune").summary["started_from"] == "v1"
        now, before = (table(each, "finetune", "seeds.csv") for each in (run, average))
        assert now["test_mae"].to_numpy() == pytest.approx(before["test_mae"].to_numpy(), abs=0.02)
        assert len(suffixes(load_network(run.input("finetune", "model.keras")))) == 2
        caplog.clear()
        assert main(["features", "--run", "warm", "--again", *overrides(warm)]) == 0
    assert "0 to compute" in caplog.text  # the frozen prefix is that of the average, and of the baseline


def test_an_average_of_age_distributions_is_published_and_trained_on(
    prepared: Workspace, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(prepared.store.where("runs"), tmp_path / "store" / "runs")
    shutil.copytree(prepared.cache, tmp_path / "cache")
    point_at(monkeypatch, tmp_path, sample.labels)
    settings = TWO | {"finetune.combine": "average", "model.head": "expected_value"}
    run_stages("median", "demo", settings)
    with open_run("median", Locations.from_env()) as run:
        assert run.require_record("publish").summary["export"].startswith("same ages within")
        ages = table(run, "finetune", "test_predictions.csv").set_index("file_name")["age"]
        real = table(run, "split", "test.csv").set_index("file_name")["real_age"]
        assert metrics_of(run)["test_mae"] == pytest.approx((ages - real).abs().mean(), abs=2e-3)
    warm = settings | {"finetune.start_from": "champion", "finetune.epochs": 1, "finetune.learning_rate": 1e-7}
    assert main(["snapshot", "--run", "warm", "--recipe", "demo", *overrides(warm)]) == 0
    run_stages("warm", "demo", warm, first="validate", last="finetune")
    with open_run("median", Locations.from_env()) as run, open_run("warm", Locations.from_env()) as on:
        before, now = (table(each, "finetune", "seeds.csv")["test_mae"].to_numpy() for each in (run, on))
        assert now == pytest.approx(before, abs=0.02)
        assert metrics_of(on)["test_mae"] == pytest.approx(metrics_of(run)["test_mae"], abs=0.02)


@pytest.mark.parametrize("command", [["features"], ["finetune"]])
def test_one_training_does_not_start_from_an_average(
    average: Workspace, command: list[str], capsys: pytest.CaptureFixture[str]
):
    warm = {"finetune.start_from": "champion", "finetune.epochs": 1, "finetune.seeds": 1}
    assert main([*command, "--run", "average", *overrides(warm)]) == 64
    assert "the champion v1 is the average of 2 networks, and finetune.seeds is 1" in capsys.readouterr().err


def test_an_interrupted_fine_tuning_goes_on_with_the_seed_it_was_at(
    best: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: Log
):
    settings, before = overrides(TWO), table(best, "finetune", "seeds.csv")

    def killed(*arguments, **keywords):
        if "seed43" in str(arguments[-1]):
            raise KeyboardInterrupt
        return fit(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("age_tasks.stages._seeds.fit", killed)
        assert main(["finetune", "--run", "best", "--again", *settings]) != 0
    caplog.set_level("INFO")
    caplog.clear()
    assert main(["finetune", "--run", "best", "--again", *settings]) == 0
    assert "continuing after epoch 2" in caplog.text
    epochs = [line for line in caplog.messages if ": train MAE" in line]
    assert epochs
    assert all(line.startswith("seed 43 (2 of 2), epoch") for line in epochs)
    with open_run("best", Locations.from_env()) as run:
        pd.testing.assert_frame_equal(table(run, "finetune", "seeds.csv"), before, rtol=1e-3)
