"""The stage `publish`."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from age_tasks.config import Config
from age_tasks.data.decoding import load_rgb
from age_tasks.environment import Locations
from age_tasks.errors import MissingInputError
from age_tasks.evaluation.results import GateResult
from age_tasks.registry.approval import Approval
from age_tasks.registry.decisions import decisions
from age_tasks.registry.promotions import champion, fetch_version, history, promote, publish_version, rollback
from age_tasks.runs.run import Workspace, open_run
from age_tasks.serving.litert import litert_predict
from age_tasks.stages import publish
from age_tasks.stages._inputs import images_of
from age_tasks.stages.publish import promote_candidate, trained_on
from age_tasks.store.base import Store
from tests.support.builders import FACTS, candidate
from tests.support.records import put_record
from tests.support.settings import QUICK
from tests.support.stages import run_stages, table


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Workspace]:
    with open_run("tuesday", Locations(store=(tmp_path / "store").as_uri(), cache=tmp_path / "cache")) as run:
        yield run


def test_a_model_that_passed_becomes_the_champion(run: Workspace, tmp_path: Path):
    first = promote_candidate(run, candidate(run, b"one", None), FACTS)
    second = promote_candidate(run, candidate(run, b"two", champion(run.store).version), FACTS)
    assert (first["version"], second["version"]) == ("v1", "v2")
    now = champion(run.store)
    assert (now.name, now.run, now.why) == ("v2", "tuesday", "gate passed: all 7 rules hold")
    assert fetch_version(run.store, now.version, tmp_path / "v2").test_mae == 6.5


def test_a_person_s_approval_stands_in_the_log(run: Workspace):
    said = Approval(True, "ann", "looks right", "2026-11-24T10:15:00+00:00")
    promote_candidate(run, candidate(run, b"one", None), FACTS, said)
    now = champion(run.store)
    assert now.who == "ann"
    assert now.why == "gate passed: all 7 rules hold; approved by ann at 2026-11-24 10:15 UTC: looks right"


def test_a_task_that_is_tried_again_promotes_once(run: Workspace):
    for _ in range(2):
        summary = promote_candidate(run, candidate(run, b"one", None), FACTS)
        assert (summary["version"], summary["test_mae"], summary["promoted"]) == ("v1", 6.5, True)
    assert len(history(run.store)) == 1


def test_a_model_that_people_rolled_back_stays_so(run: Workspace):
    promote_candidate(run, candidate(run, b"one", None), FACTS)
    promote_candidate(run, candidate(run, b"two", champion(run.store).version), FACTS)
    rollback(run.store, "worse on children")
    summary = promote_candidate(run, candidate(run, b"two", champion(run.store).version), FACTS)
    assert (summary["version"], summary["promoted"]) == ("v2", False)
    assert champion(run.store).name == "v1"


def test_a_champion_that_changed_since_the_comparison_is_not_replaced(run: Workspace):
    promote_candidate(run, candidate(run, b"one", None), FACTS)
    with pytest.raises(MissingInputError, match=r"the champion is v1 now.*compared with \(none\).*evaluate"):
        promote_candidate(run, candidate(run, b"two", None), FACTS)
    assert champion(run.store).name == "v1"


def test_a_rollback_during_the_upload_holds(run: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    promote_candidate(run, candidate(run, b"one", None), FACTS)
    promote_candidate(run, candidate(run, b"two", champion(run.store).version), FACTS)

    def upload(store: Store, *version) -> str:
        rollback(store, "worse on children")
        return publish_version(store, *version)

    third = candidate(run, b"three", champion(run.store).version)
    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish_version", upload)
        with pytest.raises(MissingInputError, match="the champion is v1 now"):
            promote_candidate(run, third, FACTS)
    first = champion(run.store)
    assert first.name == "v1"
    assert promote_candidate(run, candidate(run, b"three", first.version), FACTS)["version"] == "v3"
    fetch_version(run.store, champion(run.store).version, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["champion"]["version"] == first.version


@pytest.fixture
def judged(run: Workspace) -> Workspace:
    """The gate passed the model `one` against the version `sunday`; publish is due."""
    gate = GateResult(passed=True, verdict="passed: all 7 rules hold", rules=()).to_bytes()
    run.store.put("runs/tuesday/gate/gate.json", gate)
    wrote(run, "finetune", "model.keras", b"one")
    wrote(run, "evaluate", "metrics.json", b"{}", inputs={"finetune/model.keras": sha256(b"one")})
    wrote(run, "gate", "gate.json", gate, summary={"model": sha256(b"one"), "champion": {"version": "sunday"}})
    return run


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wrote(run: Workspace, stage: str, name: str, content: bytes, **fields: object) -> None:
    outputs = {name: {"sha256": sha256(content), "bytes": len(content)}}
    put_record(run.store, stage, run.key, outputs=outputs, **fields)


def test_a_model_that_the_gate_did_not_judge_is_not_published(judged: Workspace):
    wrote(judged, "finetune", "model.keras", b"trained once more")
    with pytest.raises(MissingInputError, match="the gate judged another model than finetune has written since"):
        publish.execute(judged, Config())
    assert history(judged.store) == []


def test_an_approval_of_another_comparison_publishes_nothing_and_is_kept(
    judged: Workspace, monkeypatch: pytest.MonkeyPatch
):
    said = {"asked": True, "approved": True, "who": "ann", "model": sha256(b"one"), "champion": "saturday"}
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(said))
    with pytest.raises(MissingInputError, match=r"against saturday, but .* against sunday since; clear approve too"):
        publish.execute(judged, Config())
    assert [each.who for each in decisions(judged.store)] == ["ann"]
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(said | {"champion": "sunday"}))
    with pytest.raises(MissingInputError, match="which evaluate wrote, is gone"):  # the approval counts
        publish.execute(judged, Config())


def test_a_version_remembers_what_the_one_that_it_started_from_has_learned(run: Workspace, tmp_path: Path):
    splits = {name: pd.DataFrame({"sha256": [name], "real_age": [30.0]}) for name in ("train", "test")}
    put_record(run.store, "finetune", run.key, summary={"started_from": "baseline"})
    assert trained_on(run, splits)["sha256"].tolist() == ["train", "test"]
    (tmp_path / "trained_on.csv").write_text("sha256,real_age,split\ngone,41.5,train\ntrain,30.0,train\n")
    publish_version(run.store, "one", {"trained_on.csv": tmp_path / "trained_on.csv"}, {})
    for version in ("one", "two"):
        publish_version(run.store, version, {}, {})
        promote(run.store, version, "gate passed")
    put_record(run.store, "finetune", run.key, summary={"started_from": "v1"})
    assert trained_on(run, splits)[["sha256", "split"]].to_numpy().tolist() == [
        ["train", "train"],
        ["test", "test"],
        ["gone", "ancestor"],
    ]


def test_the_manifest_states_the_settings_that_the_model_was_trained_with(run: Workspace):
    put_record(run.store, "baseline", run.key, settings={"model": {"image_size": 64}, "baseline": {"epochs": 2}})
    put_record(run.store, "finetune", run.key, settings={"finetune": {"epochs": 2}})
    given = Config().with_overrides(
        {"augmentation.train_augmentations": 3, "model.image_size": 96, "card.owner": "ann"}
    )
    assert publish.as_trained(run, given).augmentation == given.augmentation  # as version 0.1 recorded it
    settings = {"finetune": {"epochs": 2}, "augmentation": {"test_time_augmentation": True}}
    put_record(run.store, "finetune", run.key, settings=settings)
    found = publish.as_trained(run, given)
    assert (found.augmentation.train_augmentations, found.augmentation.test_time_augmentation) == (1, True)
    assert (found.model.image_size, found.finetune.epochs, found.card.owner) == (64, 2, "ann")


def test_a_run_that_passed_the_gate_is_promoted(finished: Workspace):
    assert finished.require_record("gate").summary["passed"]
    entry = champion(finished.store)
    why = "gate passed: all 3 rules hold; changed for this run: gate.max_test_mae 40 (recipe: 9)"
    assert (entry.run, entry.why) == ("finished", why)
    assert {change.name for change in entry.changed} == set(QUICK)
    report = finished.store.get("reports/finished.html").decode()
    assert "Age model report" in report
    assert "Not published." not in report


def test_a_run_that_failed_the_gate_gets_a_report_and_changes_no_champion(copied: Locations):
    run_stages("refused", "demo", QUICK | {"gate.max_test_mae": 0.01})
    with open_run("refused", copied) as run:
        assert not run.require_record("gate").summary["passed"]
        assert [entry.run for entry in history(run.store)] == ["finished"]
        assert "Not published." in run.store.get("reports/refused.html").decode()


def test_the_litert_file_of_a_version_predicts_the_same_ages(finished: Workspace, tmp_path: Path):
    listed = fetch_version(finished.store, champion(finished.store).version, tmp_path)
    assert (listed.input["shape"], listed.input["channels"]) == ([None, 64, 64, 3], "RGB")
    assert listed.export["largest_difference"] <= listed.export["bound"]
    assert finished.require_record("publish").summary["export"].startswith("same ages within 0.0")
    tested, folder = table(finished, "evaluate", "predictions.csv").head(5), images_of(finished)
    pixels = np.stack([load_rgb(folder.path(name), 64) for name in tested["file_name"]]).astype("float32")
    assert litert_predict(tmp_path / "model.tflite", pixels) == pytest.approx(tested["finetune"].to_numpy(), abs=0.1)
    assert "LiteRT export" in finished.input("publish", "report.html").read_text()


def test_the_model_card_states_input_shape_and_how_to_load(finished: Workspace):
    card = finished.input("publish", "model_card.md").read_text()
    assert "(batch, 64, 64, 3)" in card
    assert "safe_mode=True" in card
