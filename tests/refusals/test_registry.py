"""Versions, the promotion log and MLflow, where something is refused."""

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from age_tasks.environment import Locations
from age_tasks.registry import challenges, mlflow_mirror, promotions
from age_tasks.registry.approval import Question, require_answer_to
from age_tasks.registry.challenges import ChallengeEntry, challenge_number
from age_tasks.registry.promotions import (
    INDEX,
    PROMOTIONS,
    VERSIONS,
    champion,
    fetch_version,
    find,
    history,
    manifest_file,
    model_to_beat,
    promote,
    published_before,
    rollback,
)
from age_tasks.reports.history_text import describe_champion, history_table
from age_tasks.reports.models_page import models_page
from age_tasks.runs.run import Workspace, open_run
from age_tasks.stages.publish import promote_candidate, require_judged
from age_tasks.store import open_store
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore
from tests.support.answering_server import HTML, Answer, AnsweringServer, answering_server
from tests.support.builders import FACTS, candidate, promoted, publish
from tests.support.records import put_record
from tests.support.refusals import walks
from tests.support.walks import Walk, command

MODULE = "registry/promotions.py"


@pytest.fixture
def three(here: Path) -> Store:
    """Versions v1 to v3; the last is the champion."""
    store = open_store(Locations.from_env().store)
    promoted(store, here, "one", "two", "three")
    return store


def damage_manifest(store: Store, version: str) -> None:
    store.put(manifest_file(version), b"{")


def lose_manifest(store: Store, version: str) -> None:
    store.delete(manifest_file(version))


def change_model(store: Store, version: str) -> None:
    store.put(f"{VERSIONS}{version}/model.keras", b"changed")


def lose_model(store: Store, version: str) -> None:
    store.delete(f"{VERSIONS}{version}/model.keras")


def sha256_of(version: str) -> str:
    return hashlib.sha256(version.encode()).hexdigest()


DAMAGES = [
    pytest.param(damage_manifest, "is not a valid Manifest", marks=walks("store/documents.py", "restore the file, or")),
    pytest.param(lose_manifest, "no version three in", marks=walks(MODULE, "manifest: no version {} in {}")),
    pytest.param(change_model, "sha256 differs", marks=walks(MODULE, "is not what its manifest says")),
    pytest.param(lose_model, "is gone", marks=walks(MODULE, "which its manifest lists, is gone")),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES)
def test_a_champion_that_was_lost(
    refused: Walk, three: Store, tmp_path: Path, damage: Callable[[Store, str], None], says: str
):
    damage(three, "three")
    fetch = lambda: fetch_version(three, champion(three).version, tmp_path / "fetched")  # noqa: E731
    again = refused(fetch, says, "age-tasks rollback --to")
    assert command("rollback", "--reason", "the champion is damaged")() == 0
    assert again().version == "two"
    # Neither pages nor later runs trip over what is left of it.
    assert "v3" in history_table(three)
    assert describe_champion(three).startswith("v2 is in use")
    assert "v3" in models_page(three)
    assert model_to_beat(three, "0" * 64).version == "two"
    assert model_to_beat(three, sha256_of("two")).version == "one"  # a run that made the champion
    rollback(three, "the first is better", "v1")
    assert model_to_beat(three, sha256_of("one")).version == "two"
    assert published_before(three, "0" * 64) is None


@walks("store/documents.py", "restore the file, or {}")
def test_a_damaged_entry_of_the_log(refused: Walk, three: Store):
    last = three.list(PROMOTIONS)[-1]
    three.put(last, b"{")
    assert champion(three).name == "v3"  # as the index knows it; without the index:
    for key in three.list(INDEX):
        three.delete(key)
    again = refused(command("history"), three.where(last), "remove it: the log then goes without this entry")
    three.delete(last)
    again()
    assert champion(three).name == "v2"
    promote(three, "three", "put back")
    assert champion(three).version == "three"


@walks(MODULE, "manifest: no version {} in {}")
def test_a_version_that_was_not_published(refused: Walk, three: Store, here: Path):
    again = refused(lambda: promote(three, "four", "good"), "no version four", "`age-tasks history` lists them")
    publish(three, "four", here)
    again()


@pytest.mark.parametrize(
    ("arguments", "says", "corrected"),
    [
        pytest.param(["--to", "v3"], ["v3 is the champion already", "name another with --to (v1, v2, v3)"],
                     ["--to", "v2"], marks=walks(MODULE, "is the champion already")),
        pytest.param(["--to", "7"], ["no version '7'", "choose one of v1, v2, v3"], ["--to", "2"],
                     marks=walks(MODULE, "has been promoted; choose one of")),
        pytest.param([], ["v1, is the first version", "name another with --to (v1, v2, v3)"], ["--to", "v3"],
                     marks=walks(MODULE, "there is no earlier one")),
    ],
)  # fmt: skip
def test_a_rollback(refused: Walk, three: Store, arguments: list[str], says: list[str], corrected: list[str]):
    if not arguments:
        rollback(three, "older", "v1")
    again = refused(command("rollback", "--reason", "worse", *arguments), *says)
    again(command("rollback", "--reason", "worse", *corrected))


@walks(MODULE, "no model has been promoted in {}")
def test_a_rollback_before_there_is_a_model(refused: Walk, here: Path):
    store = open_store(Locations.from_env().store)
    again = refused(command("rollback", "--reason", "worse"), store.url, "python -m age_tasks run")
    promoted(store, here, "one", "two")
    again()


@walks(MODULE, "has not listed it within")
def test_a_store_that_lists_late(refused: Walk, three: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(promotions, "LISTING_PAUSES", (0, 0))
    before = three.list(PROMOTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "list", lambda self, prefix="", **_: before if prefix == PROMOTIONS else [])
        again = refused(command("rollback", "--reason", "worse"), "takes effect when it does", "`age-tasks history`")
    again(command("history"))
    assert champion(three).name == "v2"
    assert find(history(three), "v2").why == "worse"


@walks("registry/challenges.py", "has not listed it within")
def test_a_store_that_lists_a_challenge_late(refused: Walk, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(challenges, "LISTING_PAUSES", (0, 0))
    store = open_store(Locations.from_env().store)
    entry = ChallengeEntry(champion="sunday", model="a", test="b", run="monday", at="2026-11-26T10:00:00+00:00")
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "list", lambda self, prefix="", **_: [])
        again = refused(lambda: str(challenge_number(store, entry)), "registry/challenges/sunday", "run gate again")
    again()
    assert challenge_number(store, entry) == 1  # counted once


@pytest.fixture
def run(here: Path) -> Iterator[Workspace]:
    with open_run("tuesday", Locations.from_env()) as run:
        yield run


@walks("stages/publish.py", "not what this model was compared with")
def test_a_champion_that_changed_meanwhile(refused: Walk, run: Workspace):
    promote_candidate(run, candidate(run, b"one", None), FACTS)
    compared_with_none = candidate(run, b"two", None)
    again = refused(
        lambda: promote_candidate(run, compared_with_none, FACTS), "run tuesday", "the champion is v1 now",
        "run evaluate, gate and publish again (--run tuesday",
    )  # fmt: skip
    compared = candidate(run, b"two", champion(run.store).version)  # what those stages write
    assert again(lambda: promote_candidate(run, compared, FACTS))["version"] == "v2"


def wrote(run: Workspace, stage: str, name: str, sha256: str, **fields: object) -> None:
    """A record of a stage that wrote this file."""
    put_record(run.store, stage, run.key, outputs={name: {"sha256": sha256, "bytes": 1}}, **fields)


def judged(run: Workspace, *, evaluated: str, metrics: str, model: str) -> None:
    """What evaluate and gate leave: the model that was measured, the metrics that were judged, and their model."""
    wrote(run, "evaluate", "metrics.json", "new metrics", inputs={"finetune/model.keras": evaluated})
    inputs, summary = {"evaluate/metrics.json": metrics}, {"model": model}
    wrote(run, "gate", "gate.json", "gate", inputs=inputs, summary=summary)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ({"evaluated": "old", "metrics": "old metrics", "model": "old"}, "another model than finetune"),
        ({"evaluated": "old", "metrics": "new metrics", "model": "new"}, "another model than finetune"),
        ({"evaluated": "new", "metrics": "old metrics", "model": "new"}, "another evaluation than evaluate"),
    ],
)
@walks("stages/publish.py", "the gate judged another")
def test_a_training_that_was_executed_once_more(refused: Walk, run: Workspace, before: dict[str, str], says: str):
    wrote(run, "finetune", "model.keras", "new")
    judged(run, **before)
    again = refused(lambda: require_judged(run), "run tuesday", says, "run evaluate, gate and publish again", "approve")
    judged(run, evaluated="new", metrics="new metrics", model="new")
    again()


@walks("registry/approval.py", "the task approve {}, but the gate has passed {} since")
def test_an_approval_of_another_comparison(refused: Walk, monkeypatch: pytest.MonkeyPatch):
    said = {"asked": True, "approved": True, "who": "ann", "model": "ab12" * 16, "champion": "sunday"}
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(said))
    question = Question("ab12" * 16, "monday")
    again = refused(lambda: require_answer_to(question), "against sunday", "against monday", "clear approve too")
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(said | {"champion": "monday"}))  # ann is asked again
    again()


MLFLOW = "registry/mlflow_mirror.py"


def warns(action: Callable[[], object], caplog: pytest.LogCaptureFixture) -> Callable[[], object]:
    """MLflow's refusals are warnings: this prints them as a command does its error, for `refused`."""

    def act() -> int:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            action()
        print("\n".join(record.getMessage() for record in caplog.records), file=sys.stderr)
        return len(caplog.records)

    return act


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringServer]:
    """A server that answers as MLflow does, of a version that it has."""

    def plan(request: object) -> Answer:
        found = {"model_versions": [{"version": "1"}]}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(found).encode())

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with answering_server() as server:
        server.plan = plan
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        pytest.param("http://[", "set MLFLOW_TRACKING_URI to an address such as http://host:5000",
                     marks=walks(MLFLOW, "_check_address: the address is malformed")),
        pytest.param("http://host:0", "set MLFLOW_TRACKING_URI to an address such as http://host:5000",
                     marks=walks(MLFLOW, "_check_address: the address is malformed")),
        pytest.param("a b", "set MLFLOW_TRACKING_URI to an address such as http://host:5000",
                     marks=walks(MLFLOW, "_check_address: the address is malformed")),
        pytest.param("sqlite:///mlflow.db", "start `mlflow server --backend-store-uri",
                     marks=walks(MLFLOW, "not a server's address")),
        pytest.param("{host}", "set MLFLOW_TRACKING_URI to {url}", marks=walks(MLFLOW, "has no http:// or https://")),
    ],
)  # fmt: skip
def test_an_address_of_mlflow(
    refused: Walk, server: AnsweringServer, monkeypatch: pytest.MonkeyPatch, caplog, uri: str, says: str
):
    host = server.url.removeprefix("http://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(host=host) if "host}" in uri else uri)
    log = warns(lambda: mlflow_mirror.log_champion("x"), caplog)
    again = refused(log, says.format(url=server.url), "not logged there")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    again()


@walks(MLFLOW, "contains a line break or control character")
def test_a_token_with_a_line_break(refused: Walk, server: AnsweringServer, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc\ndef")
    again = refused(warns(lambda: mlflow_mirror.log_champion("x"), caplog), "MLFLOW_TRACKING_TOKEN", "set it without")
    assert "abc" not in refused.message
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abcdef")
    again()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(Answer(302, {"Location": "https://mlflow.example.org/"}),
                     ["redirects to https://mlflow.example.org", "set MLFLOW_TRACKING_URI to the final address"],
                     marks=walks(MLFLOW, "it redirects to")),
        pytest.param(Answer(401, {}, b"who?"), ["401: who?", "check MLFLOW_TRACKING_USERNAME"],
                     marks=walks(MLFLOW, "_read: {}: {}; {}")),
        pytest.param(Answer(500, HTML, b"<html>"), ["500: a web page", "check the server's log"],
                     marks=walks(MLFLOW, "_read: {}: {}; {}")),
        pytest.param(Answer(200, HTML, b"<html>"), ["a web page", "set MLFLOW_TRACKING_URI to an MLflow server"],
                     marks=walks(MLFLOW, "the answer is not MLflow's")),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_mlflows(refused: Walk, server: AnsweringServer, caplog, answer: Answer, says: list[str]):
    as_mlflow, server.plan = server.plan, lambda request: answer
    again = refused(warns(lambda: mlflow_mirror.log_champion("x"), caplog), *says, "not logged there")
    server.plan = as_mlflow
    again()
