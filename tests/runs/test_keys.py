"""The folders of runs: two ids never share one, and every id that a version before 0.2 started is still found."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from age_tasks.cli.app import main
from age_tasks.config import Config
from age_tasks.environment import Locations
from age_tasks.errors import MissingInputError, SettingsError
from age_tasks.runs.keys import former_run_key, run_file, safe_run_key
from age_tasks.runs.run import StoredRun, find_run, open_run, start_run
from age_tasks.store.base import Store, check_key
from age_tasks.store.files import FileStore

SCHEDULED = "scheduled__2026-11-26T03:00:00+00:00"
AIRFLOW = {
    "manual__2026-11-22T10:15:00+00:00": "manual__2026-11-22T10-15-00-00-00",
    "manual__2026-11-26T03:23:15.123456+00:00_Ab3dE9xY": "manual__2026-11-26T03-23-15.123456-00-00_Ab3dE9xY",
    "scheduled__2026-11-26T03:00:00+00:00": "scheduled__2026-11-26T03-00-00-00-00",
    "asset_triggered__2026-11-26T03:23:15.5+00:00_x": "asset_triggered__2026-11-26T03-23-15.5-00-00_x",
}
ODD = ["set:a", "set+a", "set~a", "set/a", "set a", "set-a ", "set:+a", "se\u0301t", "s\u00e9t", "set-a\n", "SET:a"]
PLAIN = ["set-a", "Set-A", "a.", "a..", "a__b", "hand__20261122T101500Z-3f9c", "x" * 200]
# Mostly what people and Airflow write, so that folding meets folding.
IDS = st.one_of(
    st.text(alphabet="aA1:+~-_./ é\u0301", max_size=12),
    st.text(max_size=220),
    st.sampled_from([*AIRFLOW, *AIRFLOW.values(), *ODD, *PLAIN]),
    st.from_regex(r"[a-z_]+__[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}[:-][0-9]{2}[:-][0-9]{2}[+:-]00[:-]00", fullmatch=True),
)


def key_of(run_id: str) -> str | None:
    try:
        return safe_run_key(run_id)
    except SettingsError:
        return None


@given(IDS, IDS)
@example("set:a", "set+a")
@example("manual__2026-11-22T10:15:00+00:00", "manual__2026-11-22T10-15-00-00-00")
def test_two_ids_never_have_one_folder(one: str, other: str):
    found = {}
    for run_id in dict.fromkeys((one, other)):
        if (key := key_of(run_id)) is None:
            continue
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}", key)
        assert check_key(run_file(key))
        assert found.setdefault(key, run_id) == run_id
        assert found.setdefault(safe_run_key(key), key) == key  # an id that is literally the folder of the other


@pytest.mark.parametrize("run_id", PLAIN)
def test_an_id_that_can_be_a_folder_is_one(run_id: str):
    assert safe_run_key(run_id) == run_id


@pytest.mark.parametrize("run_id", AIRFLOW)
def test_ids_of_airflow_keep_the_folders_they_had(run_id: str):
    assert safe_run_key(run_id) == former_run_key(run_id) == AIRFLOW[run_id]


def test_other_ids_begin_with_what_is_readable_of_them():
    assert safe_run_key("set:a").startswith("set-a--")
    assert len({safe_run_key(run_id) for run_id in ODD}) == len(ODD)
    assert len(safe_run_key("a:" + "x" * 198)) == 200


@pytest.mark.parametrize("run_id", ["", ".", "..", "../x", ".a", "-a", " ", "x" * 201, "\ud800"])
def test_an_id_of_which_no_folder_can_be_made_is_refused(run_id: str):
    with pytest.raises(SettingsError, match="can't be a folder name: use letters, digits"):
        safe_run_key(run_id)


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(labels="labels.csv", images="images", store=str(tmp_path / "store"), cache=tmp_path / "cache")


def started(store: Store, key: str, run_id: str | None = None) -> None:
    """A `run.json`; without an id, as a version before 0.2 wrote it."""
    stored = {"config": Config().to_dict(), "labels": "labels.csv", "images": "images", "created": "2026-11-26"}
    store.put(run_file(key), json.dumps(stored | ({"id": run_id} if run_id else {})).encode())


@pytest.mark.parametrize("run_id", [*ODD, *AIRFLOW])
def test_a_run_of_an_earlier_version_is_found(run_id: str, tmp_path: Path):
    store = FileStore(tmp_path)
    started(store, former_run_key(run_id))
    assert find_run(run_id, lambda: store) == former_run_key(run_id)


def test_a_run_of_an_earlier_version_gives_way_to_one_of_the_same_id(tmp_path: Path):
    store = FileStore(tmp_path)
    started(store, "set-a")
    started(store, safe_run_key("set:a"), "set:a")
    assert find_run("set:a", lambda: store) == safe_run_key("set:a")
    assert find_run("set+a", lambda: store) == "set-a"


def test_the_folder_of_another_id_is_not_taken_for_a_run_of_an_earlier_version(tmp_path: Path):
    store = FileStore(tmp_path)
    started(store, "set-a", "set-a")
    assert find_run("set:a", lambda: store) == safe_run_key("set:a")


@pytest.mark.parametrize("run_id", [*ODD, *AIRFLOW, *PLAIN])
def test_a_run_is_found_by_its_folder_too_since_messages_name_it(run_id: str, tmp_path: Path):
    store, key = FileStore(tmp_path), safe_run_key(run_id)
    started(store, key, run_id)
    assert find_run(run_id, lambda: store) == find_run(key, lambda: store) == key


def test_no_store_is_opened_for_ids_whose_folder_never_had_another_name():
    assert [find_run(run_id, lambda: 1 / 0) for run_id in ("set-a", SCHEDULED)] == ["set-a", AIRFLOW[SCHEDULED]]


def test_two_runs_whose_ids_differ_in_signs_stay_apart(place: Path, capsys: pytest.CaptureFixture[str]):
    store = FileStore(place / "store")
    for run_id in ("set:a", "set+a", safe_run_key("set:a")):
        assert main(["snapshot", "--run", run_id, "--recipe", "demo"]) == 0
        assert StoredRun(safe_run_key(run_id), store).settings().id == run_id
    assert len(list((place / "store" / "runs").iterdir())) == 3
    assert main(["summary", "--run", "set:a"]) == 0
    assert safe_run_key("set:a") in capsys.readouterr().out


def test_a_run_of_an_earlier_version_goes_on_in_its_folder(place: Path, capsys: pytest.CaptureFixture[str]):
    started(FileStore(place / "store"), "set-a")
    assert main(["validate", "--run", "set:a"]) == MissingInputError.exit_code
    assert "run set-a: snapshot has not run" in capsys.readouterr().err


def test_a_folder_that_can_t_tell_two_ids_apart_is_left_to_the_first(locations: Locations):
    """As on a disk that takes `Set` and `set` for one name."""
    with open_run("set", locations) as run:
        start_run(run, Config(), locations, "Set")
        with pytest.raises(SettingsError, match=r"^run 'set' would replace run 'Set': .* choose another run id$"):
            start_run(run, Config(), locations, "set")
        start_run(run, Config(), locations, "Set")
        assert run.settings().id == "Set"


def test_a_broken_run_json_is_replaced(locations: Locations):
    with open_run("set", locations) as run:
        run.store.put(run_file("set"), b"{")
        start_run(run, Config(), locations)
        assert run.settings().id == "set"
