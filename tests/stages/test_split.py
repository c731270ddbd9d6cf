"""The stage `split`."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from age_tasks.cli.app import main
from age_tasks.config import Config, SplitSettings
from age_tasks.environment import Locations
from age_tasks.errors import DiskFullError, LabelsError, MissingInputError
from age_tasks.pipeline import PIPELINE
from age_tasks.runs.keys import record_file, stage_folder
from age_tasks.runs.records import StageRecord, Summary
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage
from age_tasks.stages import split as stage
from age_tasks.store import open_store
from tests.support.settings import QUICK, overrides
from tests.support.stages import table
from tests.support.tables import faces


def test_splits_share_no_image_and_keep_their_fractions(prepared: Workspace):
    parts = [set(table(prepared, "split", f"{name}.csv")["sha256"]) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts))
    summary = json.loads(prepared.input("split", "split_summary.json").read_text())
    assert abs(summary["test"]["share"] - 0.15) < 0.02


def test_assignments_under_other_settings_leave_earlier_ones_in_force(copied: Locations):
    for key, seed in (("another", 7), ("back", 42)):
        assert main(["snapshot", "--run", key, "--recipe", "demo", *overrides(QUICK | {"split.seed": seed})]) == 0
        assert main(["validate", "--run", key]) == 0
        assert main(["split", "--run", key, "--again"]) == 0
    with open_run("another", copied) as run:
        assert run.record("split").summary["known"] == 0
    with open_run("back", copied) as run:
        summary = run.record("split").summary
        assert summary["known"] == len(table(run, "validate", "accepted.csv"))


class Splits:
    """Runs that split numbered images, in a store of their own; plots are left out."""

    def __init__(self, folder: Path) -> None:
        self.locations = Locations(
            labels="labels.csv", images="images", store=str(folder / "store"), cache=folder / "cache"
        )
        self.store = open_store(self.locations.store)
        self.plot: Callable[..., None] = lambda *_: None

    def execute(
        self, key: str, images: Sequence[int], config: Config | None = None, again: bool = False
    ) -> dict[str, str]:
        """The split of each image, once `split` is executed in a run whose labels are these images."""
        config, labels = config or Config(), faces(sorted(images), {}).assign(line=1)
        labels["sha256"] = "f" + labels["sha256"]

        def validate(run: Workspace, config: Config) -> Summary:
            labels.to_csv(run.output_dir / "accepted.csv", index=False)
            return {}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage.figures, "save", self.plot)
            patch.setattr(stage.figures, "split_ages", lambda *_: None)
            with open_run(key, self.locations) as run:
                start_run(run, config, self.locations)
                execute_stage("validate", Needs(), lambda: validate, run, config)
            with open_run(key, self.locations) as run:
                execute_stage("split", PIPELINE["split"].needs, lambda: stage.execute, run, config, again)
            with open_run(key, self.locations) as run:
                return {
                    image: name for name in stage.SPLITS for image in self._images(run.input("split", f"{name}.csv"))
                }

    def _images(self, file: Path) -> Sequence[str]:
        return pd.read_csv(file, dtype="str")["sha256"].tolist()


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    return Splits(tmp_path)


histories = st.lists(
    st.tuples(
        st.sampled_from(["first", "second", "third"]),
        st.lists(st.integers(0, 2999), max_size=60),  # arrive
        st.lists(st.integers(0, 2999), max_size=20),  # leave
        st.booleans(),  # again
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(histories)
def test_images_stay_in_their_split_whichever_run_is_executed_again(history: list):
    here, before = set(range(120)), {}
    with tempfile.TemporaryDirectory() as folder:
        splits = Splits(Path(folder))
        for key, arrive, leave, again in [("first", [], [], False), *history]:
            here = (here | set(arrive)) - set(leave)
            found = splits.execute(key, here, again=again)
            assert all(found[image] == before[image] for image in found.keys() & before.keys())
            before |= found


def test_the_only_run_that_is_executed_again_with_more_labels_moves_no_image(splits: Splits):
    first = splits.execute("only", range(300))
    grown = splits.execute("only", range(360))
    assert {image: grown[image] for image in first} == first
    assert splits.execute("only", range(360), again=True) == grown


def test_the_same_labels_again_give_the_same_splits_after_a_run_that_contradicts_them(splits: Splits):
    seven = Config(split=SplitSettings(seed=7))
    first = splits.execute("first", range(300))
    record = splits.store.get(record_file("first", "split"))
    splits.store.delete(record_file("first", "split"))  # as of a run at the same time, or in 0.1.0
    splits.execute("other", range(340), seven)
    other = StageRecord.parse(splits.store.get(record_file("other", "split")), "")
    changed = other.model_copy(update={"settings": StageRecord.parse(record, "").settings})
    splits.store.put(record_file("other", "split"), changed.to_bytes())
    splits.store.put(record_file("first", "split"), record)
    both = splits.execute("first", range(350))
    assert {image: both[image] for image in first} == first
    assert splits.execute("first", range(350), again=True) == both


def test_a_run_that_reused_a_result_keeps_it_when_it_is_executed_again(splits: Splits):
    first = splits.execute("first", range(300))
    assert splits.execute("second", range(300)) == first
    with open_run("second", splits.locations) as run:
        assert run.require_record("split").reused_from == "first"
    splits.execute("third", range(300), Config(split=SplitSettings(seed=7)))
    grown = splits.execute("second", range(330))
    assert {image: grown[image] for image in first} == first


def test_a_failure_or_an_interruption_loses_no_assignment(splits: Splits, monkeypatch: pytest.MonkeyPatch):
    first = splits.execute("only", range(300))

    def fails(*_: object) -> None:
        raise LabelsError("wrong labels")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "extend_assignments", fails)
        with pytest.raises(LabelsError, match="wrong labels"):
            splits.execute("only", range(310))
    after_failure = splits.execute("only", range(320))
    assert {image: after_failure[image] for image in first} == first
    splits.store.delete(record_file("only", "split"))  # as a killed process leaves it
    after_a_kill = splits.execute("only", range(340))
    assert {image: after_a_kill[image] for image in after_failure} == after_failure


@pytest.mark.parametrize("before", [0, 300])
def test_a_failure_while_the_outputs_are_written_is_simply_repeated(
    splits: Splits, monkeypatch: pytest.MonkeyPatch, before: int
):
    def fails(*_: object) -> None:
        raise DiskFullError("no room")

    first = splits.execute("only", range(before)) if before else {}
    monkeypatch.setattr(splits, "plot", fails)
    with pytest.raises(DiskFullError):
        splits.execute("only", range(310))
    monkeypatch.undo()
    repeated = splits.execute("only", range(310))
    assert len(repeated) == 310
    assert {image: repeated[image] for image in first} == first


def test_own_assignments_of_other_settings_do_not_count(splits: Splits, caplog: pytest.LogCaptureFixture):
    first = splits.execute("only", range(300))
    seven = splits.execute("only", range(300), Config(split=SplitSettings(seed=7)))
    assert seven != first
    assert "the split settings differ from those of run only" in caplog.text
    splits.store.delete(record_file("only", "split"))
    assert splits.execute("only", range(300)) == first


@pytest.mark.parametrize("tries", [1, 2])
def test_damaged_assignments_are_given_up_only_when_that_is_asked_for(
    splits: Splits, caplog: pytest.LogCaptureFixture, tries: int
):
    splits.execute("only", range(300))
    splits.store.put(stage_folder("only", "split") + "assignments.csv", b"damaged")
    for _ in range(tries):
        with pytest.raises(MissingInputError, match=r"assignments\.csv.* is .*--again"):
            splits.execute("only", range(330))
    splits.execute("only", range(330), again=True)
    assert "the images that only this run has assigned are assigned anew" in caplog.text
