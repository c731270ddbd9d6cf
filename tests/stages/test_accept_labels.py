"""`labels accept`: a person accepts labels that were refused for their age distribution."""

import getpass
import multiprocessing
from pathlib import Path

import pytest

from age_tasks.cli.app import main
from age_tasks.config import Config
from age_tasks.errors import AgeTasksError, LabelsError, MissingInputError, SettingsError
from age_tasks.pipeline import PIPELINE
from age_tasks.registry.labels_acceptance import ACCEPTED, acceptance_of
from age_tasks.runs.run import StoredRun
from age_tasks.stages.accept_labels import accept_labels
from age_tasks.store import open_store
from age_tasks.store.base import Store
from tests.support.label_runs import LABELS, frozen_labels, refused_labels
from tests.support.records import put_record

WHY = "from now on adults only"


def accepted_labels(store: Store, run: str) -> str:
    """What an acceptance adds to the fingerprint of `validate`."""
    return PIPELINE["validate"].needs.extra["acceptance"](StoredRun(run, store), Config())


@pytest.mark.parametrize("by_digest", [False, True], ids=["by run", "by digest"])
def test_an_acceptance_is_recorded_for_exactly_these_labels(store: Store, tmp_path: Path, by_digest: bool):
    digest = refused_labels(store, "second", tmp_path / "labels.csv")
    frozen_labels(store, "third", tmp_path / "others.csv", LABELS + b"b.jpg,31\n")
    assert accepted_labels(store, "second") == ""
    found, new = accept_labels(store, digest if by_digest else "second", f" {WHY}\n", "ann")
    assert new
    assert (found.labels_sha256, found.run, found.who, found.why) == (digest, "second", "ann", WHY)
    assert (found.previous_run, found.distance) == ("monday", 0.4)
    assert acceptance_of(store, digest) == found
    assert accepted_labels(store, "second") == digest
    assert accepted_labels(store, "third") == ""


def test_a_second_person_learns_who_accepted_the_labels_and_changes_nothing(store: Store, tmp_path: Path):
    refused_labels(store, "second", tmp_path / "labels.csv")
    first, _ = accept_labels(store, "second", WHY, "ann")
    before = store.list(ACCEPTED)
    assert accept_labels(store, "second", "me too", "bob") == (first, False)
    assert store.list(ACCEPTED) == before


def test_of_two_people_at_the_same_moment_both_are_recorded_and_one_counts(tmp_path: Path):
    store = open_store((tmp_path / "store").as_uri())
    digest = refused_labels(store, "second", tmp_path / "labels.csv")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.starmap(accept_labels, [(store, "second", WHY, who) for who in ("ann", "bob")])
    counts = acceptance_of(store, digest)
    assert counts.who in {"ann", "bob"}
    assert len(store.list(ACCEPTED)) in {1, 2}  # one, if the second person came later than the first was done
    assert accept_labels(store, "second", WHY, "eve") == (counts, False)


def test_hostile_text_is_kept_as_one_line_of_text(tmp_path: Path):
    store = open_store((tmp_path / "store").as_uri())
    refused_labels(store, "second", tmp_path / "labels.csv")
    found, _ = accept_labels(store, "second", "<b>adults</b>\r\n\x1b[31mred\u202e\u2067 \u200cفارسی", "a\nb")
    assert found.why == "<b>adults</b> [31mred \u200cفارسی"
    assert found.who == "a b"


def test_who_accepts_is_the_user_of_the_machine_unless_named(tmp_path: Path):
    store = open_store((tmp_path / "store").as_uri())
    refused_labels(store, "second", tmp_path / "labels.csv")
    assert accept_labels(store, "second", WHY)[0].who == getpass.getuser()


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("", "ann"), "--why '' is empty"),
        ((" \n\t\u202e", "ann"), "is empty; write for example --why 'from now on adults only'"),
        (("x" * 1001, "ann"), "--why has 1001 characters; shorten it to 1000"),
        ((WHY, " "), "--by ' ' is empty"),
    ],
    ids=["no reason", "blanks", "too long", "no name"],
)
def test_a_reason_and_a_name_are_required(tmp_path: Path, texts: tuple[str, str], reason: str):
    store = open_store((tmp_path / "store").as_uri())
    refused_labels(store, "second", tmp_path / "labels.csv")
    with pytest.raises(SettingsError, match=reason):
        accept_labels(store, "second", *texts)
    assert store.list(ACCEPTED) == []


def test_what_cannot_be_accepted_is_refused_with_its_reason(tmp_path: Path):
    store, labels = open_store((tmp_path / "store").as_uri()), tmp_path / "labels.csv"
    refused_labels(store, "few", labels, "9 rows are accepted; at least 100 must be (validate.min_rows)")
    refused_labels(store, "unshifted", labels, "5 of 9 rows are quarantined", shifted=False)
    frozen_labels(store, "fresh", labels)
    frozen_labels(store, "done", labels)
    put_record(store, "validate", "done")
    frozen_labels(store, "broken", labels)
    put_record(store, "validate", "broken", status="failed", error="no space left\n…", inputs={"snapshot": "0" * 64})
    refused_labels(store, "again", labels)
    put_record(
        store, "snapshot", "again", fingerprint="1" * 64, outputs=StoredRun("again", store).record("snapshot").outputs
    )
    expected: dict[str, tuple[type[AgeTasksError], str]] = {
        "few": (LabelsError, r"refused for: 9 rows are accepted; at least 100 must be \(validate.min_rows\)"),
        "unshifted": (LabelsError, "refused for: 5 of 9 rows are quarantined"),
        "fresh": (
            MissingInputError,
            "have not been validated since its snapshot; run `age-tasks validate --run fresh`",
        ),
        "again": (MissingInputError, "have not been validated since its snapshot"),
        "done": (LabelsError, "were accepted by validate; there is nothing to accept"),
        "broken": (LabelsError, r"without a verdict on its labels \(no space left\); run `age-tasks validate"),
        "nope": (MissingInputError, "no run nope in file:.*; give the key of the run that was refused"),
        "f" * 64: (MissingInputError, "no run in file:.* froze labels with the sha256 fff"),
        "../x": (SettingsError, "can't be a folder name"),
    }
    for run, (kind, reason) in expected.items():
        with pytest.raises(kind, match=reason) as raised:
            accept_labels(store, run, WHY)
        assert "\n" not in str(raised.value)
    assert store.list(ACCEPTED) == []


def test_labels_that_changed_since_are_not_accepted_by_the_run_s_name(tmp_path: Path):
    store, labels = open_store((tmp_path / "store").as_uri()), tmp_path / "labels.csv"
    digest = refused_labels(store, "second", labels)
    labels.write_bytes(LABELS + b"b.jpg,31\n")
    with pytest.raises(LabelsError, match=f"has changed since run second froze it.*labels accept {digest}"):
        accept_labels(store, "second", WHY)
    assert accept_labels(store, digest, WHY)[1]


@pytest.mark.parametrize(("later", "changed"), [(LABELS, False), (LABELS + b"b.jpg,31\n", True)])
def test_a_later_snapshot_tells_whether_the_labels_changed(tmp_path: Path, later: bytes, changed: bool):
    store, labels = open_store((tmp_path / "store").as_uri()), tmp_path / "labels.csv"
    refused_labels(store, "second", labels)
    frozen_labels(store, "third", labels, later)
    if changed:
        with pytest.raises(LabelsError, match="has changed since"):
            accept_labels(store, "second", WHY)
    else:
        assert accept_labels(store, "second", WHY)[1]


def test_labels_that_this_machine_does_not_see_can_be_accepted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store, labels = open_store((tmp_path / "store").as_uri()), tmp_path / "labels.csv"
    refused_labels(store, "second", labels)
    labels.unlink()
    assert accept_labels(store, "second", WHY)[1]
    assert "could not be compared" in caplog.text


def test_the_command_says_what_comes_next_and_repeating_it_is_no_error(place: Path, capsys: pytest.CaptureFixture[str]):
    store = open_store((place / "store").as_uri())
    refused_labels(store, "second", place / "labels.csv")
    assert main(["labels", "accept", "second", "--why", " "]) == 64
    assert main(["labels", "accept", "second", "--why", WHY, "--by", "ann"]) == 0
    assert main(["labels", "accept", "second", "--why", WHY, "--by", "bob"]) == 0
    said = capsys.readouterr()
    assert "Next: age-tasks validate --run second" in said.out
    assert said.out.count("accepted by ann at") == 2
    assert "already accepted by ann" in said.out
    assert said.err.startswith("labels accept: --why ' ' is empty")
