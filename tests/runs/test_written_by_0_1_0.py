"""What version 0.1.0 wrote is still read: a run's settings and records, metrics, the gate's result, versions, log."""

import shutil
from pathlib import Path

import pytest

from age_tasks.evaluation.results import GateResult, Metrics
from age_tasks.pipeline import STAGES
from age_tasks.registry.challenges import ChallengeEntry, challenge_number
from age_tasks.registry.promotions import champion, history, manifest
from age_tasks.runs.listing import newest_run, runs_in
from age_tasks.runs.run import StoredRun
from age_tasks.stages.evaluate import optimism_of
from age_tasks.store.files import FileStore

WRITTEN = Path(__file__).parent / "written_by_0_1_0"


@pytest.fixture
def old(tmp_path: Path) -> FileStore:
    """A store with a run of the recipe `demo`, as 0.1.0 left it."""
    shutil.copytree(WRITTEN, tmp_path / "store")
    return FileStore(tmp_path / "store")


def test_the_settings_are_those_that_the_run_was_started_with(old: FileStore):
    run = StoredRun("monday", old)
    config = run.config()
    assert (config.recipe, config.model.image_size, config.baseline.epochs) == ("demo", 128, 12)
    assert config.augmentation.train_augmentations == 1
    assert not config.augmentation.test_time_augmentation
    assert run.settings().labels == "/data/faces/labels.csv"


def test_every_record_is_read(old: FileStore):
    run = StoredRun("monday", old)
    assert {stage: run.require_record(stage).status for stage in STAGES} == dict.fromkeys(STAGES, "done")
    assert run.require_record("validate").summary["quarantined"] == 17
    assert run.require_record("validate").parts == {}
    assert run.require_record("finetune").outputs["model.keras"].bytes > 1_000_000
    created, records = runs_in(old)
    assert set(created) == set(records) == {"monday"}


def test_the_run_is_found_although_0_1_0_wrote_no_index(old: FileStore):
    assert newest_run(old, ["split", "baseline", "finetune"]) == "monday"


def test_metrics_and_the_gate_s_result_are_read(old: FileStore):
    folder = "runs/monday/"
    metrics = Metrics.parse(old.get(f"{folder}evaluate/metrics.json"), "metrics.json")
    assert (metrics.finetune.mae.value, metrics.champion, metrics.interval.coverage) == (5.0173, None, 0.9)
    gate = GateResult.parse(old.get(f"{folder}gate/gate.json"), "gate.json")
    assert gate.passed
    assert len(gate.rules) == 4
    assert (gate.challenge, gate.selection) == (None, None)


def test_its_champion_is_challenged_from_1_on(old: FileStore):
    version = champion(old).version
    entry = ChallengeEntry(champion=version, model="a", test="b", run="tuesday", at="2026-11-26T10:00:00+00:00")
    assert optimism_of(manifest(old, version), 1000) is None
    assert [challenge_number(old, each) for each in (entry, entry.model_copy(update={"model": "c"}))] == [1, 2]


def test_the_champion_and_its_manifest_are_read(old: FileStore):
    entry = champion(old)
    assert entry == history(old)[-1]
    assert (entry.name, entry.run, entry.who, entry.raced) == ("v1", "monday", "dag_test", False)
    assert manifest(old, entry.version).run == "monday"
