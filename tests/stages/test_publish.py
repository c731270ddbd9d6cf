import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from age_tasks.environment import Locations
from age_tasks.errors import MissingInputError
from age_tasks.registry.approval import Approval
from age_tasks.registry.promotions import champion, fetch_version, history, publish_version, rollback
from age_tasks.runs.run import Workspace, open_run
from age_tasks.stages import publish
from age_tasks.stages.publish import promote_candidate, trained_on
from age_tasks.store.base import Store
from tests.support.builders import FACTS, candidate


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
    assert fetch_version(run.store, now.version, tmp_path / "v2")["test_mae"] == 6.5


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


def test_a_version_remembers_the_images_of_its_splits():
    splits = {
        name: pd.DataFrame({"sha256": [name], "real_age": [30.0], "file_name": ["x"]}) for name in ("train", "test")
    }
    table = trained_on(splits)
    assert table.to_dict("records") == [
        {"sha256": "train", "real_age": 30.0, "split": "train"},
        {"sha256": "test", "real_age": 30.0, "split": "test"},
    ]
