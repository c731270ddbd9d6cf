"""Facts about the stages: their order, and the code that shapes each result."""

import ast
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from age_tasks import resources
from age_tasks.config import Config
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE, STAGES, load_stage, version_to_start_from
from age_tasks.registry.promotions import promote, publish_version, rollback
from age_tasks.runs.provenance import code_digest
from age_tasks.runs.records import StageRecord, Summary
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage, would_be_reused

# No part of these shapes what a stage computes: they store it, or say where it goes and what a person chose. The
# settings' values are part of the fingerprint themselves.
NO_PART_OF_RESULTS = {
    "cli", "config", "environment", "errors", "garbage_collection", "pipeline", "progress", "registry", "resources",
    "runs", "stopwatch", "store",
}  # fmt: skip
CHECKS = "stages/preconditions.py"  # what it refuses has no result
PAGES = {"reports"}  # of these stages, a page is a result; of the others it only shows one
WITH_PAGES = {"evaluate", "publish"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package and its expectations whose files may be changed."""
    copy = tmp_path / "checkout" / "age_tasks"
    shutil.copytree(resources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(resources.package_path("expectations"), copy.parent / "expectations")
    monkeypatch.setattr(resources, "PACKAGE", copy)
    code_digest.cache_clear()
    yield copy
    code_digest.cache_clear()


def digests() -> dict[str, str]:
    code_digest.cache_clear()
    return {stage: code_digest(PIPELINE[stage].needs.code) for stage in STAGES}


def changed_by(file: Path) -> set[str]:
    """The stages that are executed again after a comment was added to a file."""
    before, content = digests(), file.read_bytes()
    file.write_bytes(content + b"\n# a remark\n")
    after = digests()
    file.write_bytes(content)
    return {stage for stage in STAGES if before[stage] != after[stage]}


@pytest.fixture
def do(tmp_path: Path) -> Callable[..., StageRecord]:
    """Carry out a stage of a run with its place in the pipeline; it only writes a text into each of its files."""
    locations = Locations(labels="labels.csv", images="images", store=str(tmp_path / "store"), cache=tmp_path / "cache")

    def carry(key: str, stage: str, text: str, again: bool = False) -> StageRecord:
        def work(run: Workspace, _: Config) -> Summary:
            for name in PIPELINE[stage].writes:
                if "/" not in name and " " not in name:
                    (run.output_dir / name).write_text(text)
            return {"passed": True, "verdict": text}

        needs = PIPELINE[stage].needs if stage != FIRST else Needs(extra={"labels": lambda *_: "of monday"})
        with open_run(key, locations) as run:
            start_run(run, Config(), locations)
            return execute_stage(stage, needs, lambda: work, run, Config(), again)

    carry.locations = locations
    return carry


FIRST = "split"  # the first of these stages that is carried out


def verdicts(do: Callable[..., StageRecord], key: str, text: str, after: str = "") -> dict[str, str]:
    """Carry out the stages after this one; gives for each the text of the run that executed it."""
    stages = STAGES[STAGES.index(after) + 1 :] if after else STAGES[STAGES.index(FIRST) :]
    return {stage: do(key, stage, text).summary["verdict"] for stage in stages}


@pytest.mark.parametrize("stage", ["baseline", "finetune", "evaluate"])
def test_what_a_stage_writes_when_it_is_executed_once_more_is_judged_anew(do, stage: str):
    verdicts(do, "monday", "first")
    do("monday", stage, "second", again=True)
    found = verdicts(do, "monday", "second", after=stage)
    assert {found[each] for each in ("evaluate", "gate", "publish") if each != stage} == {"second"}


@pytest.mark.parametrize("stage", ["baseline", "finetune", "evaluate"])
def test_a_stage_that_writes_the_same_once_more_changes_nothing(do, stage: str):
    verdicts(do, "monday", "first")
    do("monday", stage, "first", again=True)
    assert set(verdicts(do, "monday", "second", after=stage).values()) == {"first"}


def test_a_run_that_trains_itself_does_not_reuse_the_verdict_on_another_model(do):
    verdicts(do, "monday", "first")
    Path(do.locations.store, "runs", "monday", "finetune", "model.keras").unlink()
    found = verdicts(do, "tuesday", "second")
    assert (found["baseline"], found["finetune"]) == ("first", "second")
    assert (found["evaluate"], found["gate"], found["publish"]) == ("second", "second", "second")


def test_augmentation_is_part_of_what_a_fine_tuning_is_made_of():
    assert PIPELINE["finetune"].needs.settings == ("augmentation", "finetune")


def test_the_settings_that_stages_read_are_sections():
    assert {section for stage in PIPELINE.values() for section in stage.reads} <= Config().to_dict().keys()


def test_every_stage_comes_after_its_inputs():
    for stage in STAGES:
        assert all(STAGES.index(earlier) < STAGES.index(stage) for earlier in PIPELINE[stage].needs.inputs), stage


@pytest.mark.parametrize("stage", [stage for stage in STAGES if not PIPELINE[stage].tensorflow])
def test_a_stage_s_module_can_be_executed(stage: str):
    assert callable(load_stage(stage).execute)


def test_a_change_of_pages_or_the_command_line_trains_nothing_again(package: Path):
    for file in ("reports/figures.py", "reports/templates/report.html.j2", "reports/html.py"):
        assert changed_by(package / file) == WITH_PAGES, file
    for file in (
        "cli/app.py",
        "maintenance/prune.py",
        "demo/synthetic_faces.py",
        "config.py",
        "registry/promotions.py",
    ):
        assert changed_by(package / file) == set(), file


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("data/labels.py", {"snapshot", "validate", "split", "baseline", "finetune", "evaluate", "publish"}),
        ("../expectations/suites/rows.json", {"validate", "split"}),
        ("training/fit.py", {"baseline", "finetune", "evaluate", "publish"}),
        ("evaluation/gate.py", {"evaluate", "gate", "publish"}),
        ("evaluation/label_issues.py", {"baseline", "finetune", "evaluate", "gate", "publish"}),
        ("serving/litert.py", {"evaluate", "publish"}),
        *((f"stages/{stage}.py", {stage}) for stage in STAGES),
    ],
)
def test_a_change_of_code_repeats_the_stages_whose_results_it_shapes(file: str, stages: set[str], package: Path):
    assert changed_by(package / file) == stages


def test_the_digest_knows_a_file_by_its_name_too(package: Path):
    before = digests()
    (package / "data" / "labels.py").rename(package / "data" / "label_table.py")
    assert digests()["snapshot"] != before["snapshot"]


def test_compiled_python_and_hidden_files_change_no_digest(package: Path):
    before = digests()
    (package / "data" / "__pycache__").mkdir()
    (package / "data" / "__pycache__" / "labels.cpython-311.pyc").touch()
    (package / "data" / ".labels.py.swp").touch()
    assert digests() == before


@pytest.mark.parametrize("stage", STAGES)
def test_the_digest_covers_all_that_a_stage_imports(stage: str):
    passed_over = NO_PART_OF_RESULTS | (set() if stage in WITH_PAGES else PAGES)
    shaping = {
        name
        for name in imported_by(f"stages/{stage}.py", passed_over)
        if Path(name).parts[0].removesuffix(".py") not in passed_over
    }
    covered = PIPELINE[stage].needs.code
    assert {name for name in shaping if not any(Path(name).is_relative_to(each) for each in covered)} == set()


def imported_by(file: str, passed_over: set[str]) -> set[str]:
    """The modules that a module imports, directly or through others, as paths in the package; itself included."""
    found, waiting = set(), [file]
    while waiting:
        name = waiting.pop()
        if name in found or name == CHECKS or Path(name).parts[0].removesuffix(".py") in passed_over:
            continue
        found.add(name)
        tree = ast.parse((resources.PACKAGE / name).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("age_tasks"):
                waiting += [path for each in node.names if (path := module_file(node.module, each.name))]
    return {name for name in found if not name.endswith("__init__.py")}


def module_file(module: str, name: str) -> str | None:
    """The file of `from module import name`, relative to the package."""
    folder = Path(*module.split(".")[1:])
    for candidate in (
        folder / f"{name}.py",
        folder.with_suffix(".py") if folder.parts else folder,
        folder / "__init__.py",
    ):
        if (resources.PACKAGE / candidate).is_file():
            return candidate.as_posix()
    return None


Train = Callable[..., dict[str, StageRecord]]
WARM = {"finetune.start_from": "champion"}


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trainings of runs that only write a model of a few bytes; gives the records. With `publish` it is promoted."""
    locations = Locations(
        labels="labels.csv", images="images", store=(tmp_path / "store").as_uri(), cache=tmp_path / "cache"
    )

    def trainings(
        key: str, settings: Mapping[str, object], labels: str = "labels", publish: bool = False, again: bool = False
    ) -> dict[str, StageRecord]:
        config = Config().with_overrides(settings)

        def work(run: Workspace, _: Config) -> Summary:
            (run.output_dir / "model.keras").write_text(key)
            return {}

        def execute(stage: str, needs: Needs, again: bool = False) -> StageRecord:
            with open_run(key, locations) as run:
                start_run(run, config, locations)
                return execute_stage(stage, needs, lambda: work, run, config, again)

        execute("split", Needs(extra={"labels": lambda *_: labels}))
        needs = {stage: replace(PIPELINE[stage].needs, check=None) for stage in ("baseline", "finetune")}
        with open_run(key, locations) as run:
            foreseen = would_be_reused(needs, run, config)
        records = {stage: execute(stage, each, again) for stage, each in needs.items()}
        assert foreseen == all(record.reused_from for record in records.values()) or again
        if publish:
            (tmp_path / "model.keras").write_text(key)
            facts = {"run": key, "test_mae": 6.5}
            publish_version(run.store, f"{key}-0a1b", {"model.keras": tmp_path / "model.keras"}, facts)
            promote(run.store, f"{key}-0a1b", "gate passed", run=key)
        return records

    trainings.locations = locations
    return trainings


def test_a_weights_file_of_another_content_is_another_input_of_the_trainings(train: Train, tmp_path: Path):
    file = tmp_path / "ours.weights.h5"
    settings = {"model.weights": str(file)}
    file.write_bytes(b"one")
    first = train("monday", settings)
    assert train("tuesday", settings)["finetune"].reused_from == "monday"
    file.write_bytes(b"two")
    second = train("wednesday", settings)
    assert [record.reused_from for record in second.values()] == [None, None]
    assert first["baseline"].inputs["weights"] != second["baseline"].inputs["weights"]
    file.unlink()
    assert train("thursday", settings)["baseline"].reused_from is None  # its own error names the file
    file.write_bytes(b"one")
    assert train("friday", settings)["finetune"].reused_from == "monday"


def test_trainings_from_imagenet_and_the_baseline_have_no_inputs_but_earlier_stages(train: Train):
    train("sunday", {}, publish=True)
    records = train("monday", {"finetune.epochs": 3})
    assert {stage: [*record.inputs] for stage, record in records.items()} == {
        "baseline": ["split"],
        "finetune": ["split", "baseline"],
    }


def test_a_warm_start_from_another_champion_is_another_training(train: Train):
    train("sunday", {}, publish=True)
    refused = train("monday", WARM)["finetune"]
    assert (refused.inputs["champion"], refused.reused_from) == ("sunday-0a1b", None)
    assert train("tuesday", WARM)["finetune"].reused_from == "monday"
    train("wednesday", {"finetune.epochs": 3}, publish=True)
    warm = train("thursday", WARM)
    assert warm["baseline"].reused_from == "sunday"
    assert (warm["finetune"].inputs["champion"], warm["finetune"].reused_from) == ("wednesday-0a1b", None)


@pytest.mark.parametrize("champion", ["sunday-0a1b", ""])
def test_a_warm_start_that_became_the_champion_is_reused(train: Train, champion: str):
    if champion:
        train("sunday", {}, publish=True)
    train("monday", WARM, publish=True)
    for key, again in (("tuesday", False), ("wednesday", True), ("thursday", False)):
        repeated = train(key, WARM, again=again)["finetune"]
        assert repeated.inputs["champion"] == champion
        assert repeated.reused_from == (None if again else "monday" if key == "tuesday" else "wednesday")
        with open_run(key, train.locations) as run:
            start = version_to_start_from(run, Config().with_overrides(WARM))
            assert (start.version if start else "") == champion
    if champion:
        rollback(run.store, "worse in use")
        assert train("friday", WARM)["finetune"].reused_from == "wednesday"


@pytest.mark.parametrize(
    ("settings", "labels"),
    [({}, "more labels"), ({"finetune.epochs": 3}, "labels"), ({"augmentation.train_augmentations": 3}, "labels")],
)
def test_a_warm_start_goes_on_from_the_champion_of_another_training(
    train: Train, settings: dict[str, object], labels: str
):
    train("sunday", {}, publish=True)
    train("monday", WARM, publish=True)
    assert train("tuesday", WARM | settings, labels)["finetune"].inputs["champion"] == "monday-0a1b"


def test_nothing_starts_from_a_champion_unless_it_shall(train: Train):
    train("sunday", {}, publish=True)
    with open_run("sunday", train.locations) as run:
        assert version_to_start_from(run, Config()) is None
