"""The stage `finetune`."""

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from age_tasks.cli.app import main
from age_tasks.environment import Locations
from age_tasks.registry.promotions import champion, promote, publish_version
from age_tasks.runs.records import StageRecord
from age_tasks.runs.run import Workspace, open_run
from age_tasks.training.feature_cache import stored_shards
from age_tasks.training.network import load_saved
from tests.support.settings import QUICK, overrides
from tests.support.stages import run_stages, table


def test_finetuning_changes_the_last_layers_only(finished: Workspace):
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


def test_a_whole_network_is_trained_from_random_crops_of_pixels_that_are_decoded_once(copied: Locations):
    whole = {"finetune.last_layers": 140, "finetune.random_crop": 0.8, "finetune.random_flip": True}
    run_stages("whole", "demo", QUICK | whole | {"finetune.epochs": 1}, last="finetune")
    with open_run("whole", copied) as run:
        assert run.record("baseline").reused_from == "finished"
        before, after = (load_saved(run.input(stage, "model.keras")) for stage in ("baseline", "finetune"))
        images = {
            sha256 for name in ("train", "val", "test") for sha256 in table(run, "split", f"{name}.csv")["sha256"]
        }
        (pixels,) = [shard for shard in stored_shards(run.cache) if shard.dtype == np.uint8]
        assert (set(pixels.keys), pixels.shape) == (images, (64, 64, 3))
        assert len(table(run, "finetune", "test_predictions.csv")) == len(table(run, "split", "test.csv"))
    changed = [
        any(not np.array_equal(*weights) for weights in zip(one.get_weights(), other.get_weights(), strict=True))
        for one, other in zip(before.layers, after.layers, strict=True)
        if one.weights and not isinstance(one, keras.layers.BatchNormalization)
    ]
    assert all(changed)
    assert [layer.name for layer in after.layers] == [layer.name for layer in before.layers]


def test_a_warm_start_begins_with_the_champion_s_weights_and_is_compared_with_it(copied: Locations):
    run_stages("warm", "demo", QUICK | {"finetune.start_from": "champion", "finetune.epochs": 1})
    with open_run("warm", copied) as run:
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


def test_a_repeated_warm_start_begins_with_what_the_champion_began_with(copied: Locations, tmp_path: Path):
    warm: dict[str, object] = QUICK | {"finetune.start_from": "champion", "finetune.epochs": 1}

    def finetuned(key: str, settings: dict[str, object]) -> StageRecord:
        run_stages(key, "demo", settings, last="finetune")
        with open_run(key, copied) as run:
            return run.require_record("finetune")

    assert finetuned("warm", warm).summary["started_from"] == "v1"
    with open_run("warm", copied) as run:
        shutil.copy(run.input("finetune", "model.keras"), tmp_path / "model.keras")
        table(run, "split", "train.csv").assign(split="train").to_csv(tmp_path / "trained_on.csv", index=False)
        files = {name: tmp_path / name for name in ("model.keras", "trained_on.csv")}
        facts = {"run": "warm", "test_mae": 6.5, "augmentation": run.config().section("augmentation")}
        publish_version(run.store, "warm-0a1b", files, facts)
        promote(run.store, "warm-0a1b", "gate passed", run="warm")
    assert finetuned("repeated", warm).reused_from == "warm"
    for key, stage in (("repeated", "features"), ("repeated", "finetune"), ("warm", "finetune")):
        assert main([stage, "--run", key, "--again"]) == 0
    for key in ("repeated", "warm"):  # not from v2, which is what they made
        with open_run(key, copied) as run:
            assert run.require_record("finetune").summary["started_from"] == "v1"
    assert finetuned("longer", warm | {"finetune.epochs": 2}).summary["started_from"] == "v2"


def test_a_warm_start_from_another_network_is_refused(copied: Locations, capsys: pytest.CaptureFixture[str]):
    settings, warm = QUICK | {"model.dense_units": 8, "baseline.epochs": 1}, {"finetune.start_from": "champion"}
    assert main(["snapshot", "--run", "other", "--recipe", "demo", *overrides(settings | warm)]) == 64
    said = "the champion v1 is another network: model.dense_units is 128 there, 8 here; start from the baseline"
    assert said in capsys.readouterr().err
    with open_run("other", copied) as run:
        record = run.record("snapshot")
        assert record
        assert said in (record.error or "")
    for stage in ("snapshot", "validate", "split", "baseline"):
        given = ["--recipe", "demo", *overrides(settings)] if stage == "snapshot" else []
        assert main([stage, "--run", "other", *given]) == 0
    assert main(["finetune", "--run", "other", *overrides(warm)]) == 64
    assert "the champion v1 is another network (" in capsys.readouterr().err


def test_a_warm_start_on_other_splits_is_refused_before_hours_are_spent(
    copied: Locations, capsys: pytest.CaptureFixture[str]
):
    settings = QUICK | {"split.seed": 7, "baseline.epochs": 1, "finetune.epochs": 1}
    run_stages("warm", "demo", settings | {"finetune.start_from": "champion"}, last="split")
    said = re.compile(r"the champion v1 has learned from (\d+) of the \d+ test images and (\d+) of the \d+ validation")
    baseline = ["--set", "finetune.start_from=baseline"]
    for command in ("features", "baseline"):
        assert main([command, "--run", "warm"]) == 64
        counts = said.search(capsys.readouterr().err)
        assert counts
        assert min(map(int, counts.groups())) > 5
    with open_run("warm", copied) as run:
        assert "has learned from" in (run.record("baseline").error or "")
    assert main(["baseline", "--run", "warm", *baseline]) == 0
    assert main(["finetune", "--run", "warm"]) == 64
    assert said.search(capsys.readouterr().err)
    assert main(["finetune", "--run", "warm", *baseline]) == 0
