"""The stage `gate` over several runs: each candidate is one more challenge of its champion."""

from pathlib import Path

import pytest
from age_retraining_plugin.runtimes.kubernetes_pod import SUMMARY_BYTES

from age_tasks.cli.app import main
from age_tasks.config import Config
from age_tasks.environment import Locations
from age_tasks.evaluation.results import GateResult
from age_tasks.pipeline import PIPELINE, load_stage
from age_tasks.registry.challenges import CHALLENGES
from age_tasks.registry.decisions import decisions
from age_tasks.reports.approval_question import question
from age_tasks.runs.printed_summary import read_summary_line
from age_tasks.runs.records import StageRecord, Summary
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage
from tests.support.metrics import CHAMPION, judged_summary, metrics_of

BETTER = {"value": -0.4, "low": -0.7, "high": -0.1, "images": 1139, "bins": []}


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(
        labels=str(tmp_path / "labels.csv"),
        images=str(tmp_path / "images"),
        store=(tmp_path / "store").as_uri(),
        cache=tmp_path / "cache",
    )


def judged(
    locations: Locations,
    key: str,
    model: str,
    champion: str | None = "sunday-0a1b2c3d",
    config: Config | None = None,
    **compared: object,
) -> tuple[StageRecord, GateResult]:
    """The gate of a run whose stages before it left this model, compared with this champion.

    Args:
        compared: other values of the comparison.
    """
    config = config or Config()

    def wrote(stage: str, name: str, content: bytes) -> None:
        def work(run: Workspace, _: Config) -> Summary:
            (run.output_dir / name).write_bytes(content)
            return {}

        with open_run(key, locations) as run:
            needs = Needs(extra={"made of": lambda *_: f"{model} {champion}"})
            execute_stage(stage, needs, lambda: work, run, config, again=True)

    with open_run(key, locations) as run:
        start_run(run, config, locations)
    metrics = metrics_of(champion=CHAMPION | BETTER | {"version": champion} | compared if champion else None)
    wrote("split", "test.csv", b"the test images")
    wrote("finetune", "model.keras", model.encode())
    wrote("evaluate", "metrics.json", metrics.to_bytes())
    with open_run(key, locations) as run:
        record = execute_stage("gate", PIPELINE["gate"].needs, lambda: load_stage("gate").execute, run, config)
        return record, GateResult.parse(run.read("gate", "gate.json"), "gate.json")


def number(found: tuple[StageRecord, GateResult]) -> int:
    record, gate = found
    assert record.summary["champion"]["challenge"]["number"] == gate.challenge.number
    return gate.challenge.number


def test_the_same_gain_is_enough_for_the_first_challenge_and_not_for_a_later_one(locations: Locations):
    gates = [judged(locations, f"week-{week}", "m" * (week + 1))[1] for week in range(3)]
    assert [gate.challenge.number for gate in gates] == [1, 2, 3]
    assert [gate.passed for gate in gates] == [True, True, False]
    assert "challenge 3 of this champion" in gates[-1].verdict
    with open_run("week-0", locations) as run:
        assert len(decisions(run.store)) == 3


def test_a_gate_that_is_repeated_is_no_new_challenge(locations: Locations):
    assert number(judged(locations, "monday", "one")) == 1
    assert number(judged(locations, "tuesday", "other")) == 2
    for again in ("monday", "wednesday"):  # the same run, and a run that reuses the model
        record, gate = judged(locations, again, "one")
        assert (record.executed_by, gate.challenge.number) == ("monday", 1)
    looser = Config().with_overrides({"gate.max_test_mae": 20})
    record, gate = judged(locations, "thursday", "one", config=looser)  # judged anew, by other bounds
    assert (record.executed_by, gate.challenge.number) == ("thursday", 1)
    assert number(judged(locations, "friday", "third")) == 3


def test_a_new_champion_starts_at_the_first_challenge(locations: Locations):
    assert [number(judged(locations, key, key)) for key in ("monday", "tuesday")] == [1, 2]
    assert number(judged(locations, "wednesday", "wednesday", champion="tuesday-1a2b3c4d")) == 1


def test_where_an_equal_model_is_enough_it_is_counted_all_the_same(locations: Locations):
    enough = Config().with_overrides({"gate.policy": "not_worse"})
    record, gate = judged(locations, "monday", "one", config=enough)
    assert gate.challenge is None
    assert record.summary["champion"]["challenge"]["number"] == 1
    assert number(judged(locations, "tuesday", "other")) == 2


def test_before_the_first_promotion_there_is_nothing_to_count(locations: Locations):
    record, gate = judged(locations, "monday", "one", champion=None)
    assert (record.summary["champion"], gate.challenge, gate.selection) == (None, None, None)
    with open_run("monday", locations) as run:
        assert run.store.list(CHALLENGES) == []


@pytest.mark.parametrize("slices", [0, 30])
def test_what_a_pod_keeps_of_the_summary_is_enough_to_ask_a_person(
    slices: int, locations: Locations, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The question needs each rule, bin and number."""
    compared = judged_summary(slices)["champion"]
    record, gate = judged(locations, "monday", "one", bins=compared["bins"], slices=compared["slices"])
    monkeypatch.setenv("AGE_STORE", locations.store)
    monkeypatch.setenv("AGE_CACHE", str(locations.cache))
    monkeypatch.setenv("AGE_SUMMARY_BYTES", str(SUMMARY_BYTES))
    assert main(["gate", "--run", "monday"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert len(line.encode()) < SUMMARY_BYTES
    asked = [question(each, "/report", None, "/files") for each in (record.summary, read_summary_line(line))]
    assert asked[0] == asked[1]
    assert all(rule.name.partition(" (")[0] in asked[1] for rule in gate.rules)
