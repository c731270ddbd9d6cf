"""Refusals of `labels accept`, each with its way out."""

from pathlib import Path

import pytest

from age_tasks.stages.accept_labels import accept_labels
from age_tasks.store import open_store
from age_tasks.store.base import Store
from tests.support.label_runs import LABELS, frozen_labels, refused_labels
from tests.support.records import put_record
from tests.support.refusals import walks
from tests.support.walks import Walk

STAGE, TEXTS = "stages/accept_labels.py", "registry/labels_acceptance.py"
WHY = "from now on adults only"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@walks(TEXTS, "is empty; write for example")
def test_a_reason_of_blanks(refused: Walk, store: Store, tmp_path: Path):
    refused_labels(store, "second", tmp_path / "labels.csv")
    again = refused(lambda: accept_labels(store, "second", " \n"), "--why", WHY)
    again(lambda: accept_labels(store, "second", WHY))


@walks(TEXTS, "characters; shorten it to")
def test_a_reason_without_end(refused: Walk, store: Store, tmp_path: Path):
    refused_labels(store, "second", tmp_path / "labels.csv")
    again = refused(lambda: accept_labels(store, "second", "x" * 1001), "1001", "1000")
    again(lambda: accept_labels(store, "second", "x" * 1000))


@walks(STAGE, "accept_labels: no run")
def test_a_mistyped_run(refused: Walk, store: Store, tmp_path: Path):
    refused_labels(store, "second", tmp_path / "labels.csv")
    again = refused(lambda: accept_labels(store, "secnod", WHY), "secnod", store.url, "the key of the run")
    again(lambda: accept_labels(store, "second", WHY))


@walks(STAGE, "froze labels with the sha256")
def test_a_digest_that_no_run_has(refused: Walk, store: Store, tmp_path: Path):
    refused_labels(store, "second", tmp_path / "labels.csv")
    again = refused(lambda: accept_labels(store, "0" * 64, WHY), "0" * 64, store.url, "the key of the run")
    again(lambda: accept_labels(store, "second", WHY))


@walks(STAGE, "have not been validated since its snapshot")
def test_labels_that_were_not_validated(refused: Walk, store: Store, tmp_path: Path):
    frozen_labels(store, "second", tmp_path / "labels.csv")
    again = refused(lambda: accept_labels(store, "second", WHY), "`age-tasks validate --run second`")
    refused_labels(store, "second", tmp_path / "labels.csv")  # as validate does
    again()


@walks(STAGE, "there is nothing to accept")
def test_labels_that_are_accepted(refused: Walk, store: Store, tmp_path: Path):
    frozen_labels(store, "first", tmp_path / "first.csv")
    put_record(store, "validate", "first")
    refused_labels(store, "second", tmp_path / "labels.csv")
    again = refused(lambda: accept_labels(store, "first", WHY), "first", "accepted by validate")
    again(lambda: accept_labels(store, "second", WHY))


@walks(STAGE, "without a verdict on its labels")
def test_a_validation_that_was_interrupted(refused: Walk, store: Store, tmp_path: Path):
    frozen_labels(store, "second", tmp_path / "labels.csv")
    put_record(store, "validate", "second", status="failed", error="interrupted", inputs={"snapshot": "0" * 64})
    again = refused(lambda: accept_labels(store, "second", WHY), "interrupted", "`age-tasks validate --run second`")
    refused_labels(store, "second", tmp_path / "labels.csv")
    again()


@walks(STAGE, "only a changed age distribution can be accepted")
def test_labels_with_another_problem(refused: Walk, store: Store, tmp_path: Path):
    problem = "9 rows are accepted; at least 100 must be (validate.min_rows)"
    refused_labels(store, "second", tmp_path / "labels.csv", problem)
    again = refused(lambda: accept_labels(store, "second", WHY), problem, "Correct the labels or change the setting")
    refused_labels(store, "second", tmp_path / "labels.csv")  # with the setting changed
    again()


@walks(STAGE, "has changed since run")
def test_labels_that_changed(refused: Walk, store: Store, tmp_path: Path):
    labels = tmp_path / "labels.csv"
    digest = refused_labels(store, "second", labels)
    labels.write_bytes(LABELS + b"b.jpg,31\n")
    again = refused(lambda: accept_labels(store, "second", WHY), labels, f"labels accept {digest}")
    again(lambda: accept_labels(store, digest, WHY))
