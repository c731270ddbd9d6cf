"""Generated run ids, answers of approvers, rollbacks, and damaged documents of the store: right, or one line."""

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from age_tasks.config import config_from_stored
from age_tasks.data.labels_file import last_snapshot
from age_tasks.environment import Locations
from age_tasks.errors import AgeTasksError, SettingsError
from age_tasks.registry.approval import read_approval
from age_tasks.registry.promotions import Promotion, find, history, manifest, rollback
from age_tasks.runs.keys import safe_run_key
from age_tasks.runs.listing import newest_run, runs_in
from age_tasks.runs.run import open_run
from age_tasks.store.base import Store, check_key
from age_tasks.store.files import FileStore
from tests.faults.generated import SECRET, attempts, generated, outcome, texts
from tests.faults.mutated_bytes import mutated
from tests.faults.tally import Tally
from tests.faults.written import WRITTEN

TOKENS = [token.encode("utf-8", "surrogatepass") for token in ("null", "true", "1", "-1", "1e999", "NaN",
    "Infinity", '""', "[]", "{}", "[", "{", "]", "}", ",", ":", '"', "\\", "\\u0000", '"\\ud800"', "\n", "\0",
    "9" * 5000, '"schema_version": 99,', '"run": 3,', '"config": [],', '"../x"', "\ufeff", "[" * 500,
    )] + [b"\xff", b"\x1b[31m"]  # fmt: skip

run_ids = st.one_of(
    texts("manual__2026-11-22T10:15:00+00:00", "set:a", "set+a", "set-a", "hand__20261122T101500Z-3f9c", "a" * 201),
    st.tuples(
        st.sampled_from(["set", "a", "1", "é"]),
        st.sampled_from([":", "+", "-", " ", "/", "\\", "..", "--", "\n"]),
        st.sampled_from(["a", "", "b", "8b1c"]),
    ).map("".join),
)


def check_run_ids(first: str, second: str, tally: Tally) -> None:
    """A run id becomes a folder of its own, or is refused."""
    with tally.attempt("run_ids", 2):
        keys = []
        for run_id in (first, second):
            key, refused = outcome(lambda: safe_run_key(run_id), "run ")  # noqa: B023
            assert (refused is None) or isinstance(refused, SettingsError)
            if key is not None:
                assert check_key(f"runs/{key}/run.json")
                assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}", key)
                assert safe_run_key(run_id) == key
            keys.append(key)
        assert first == second or None in keys or keys[0] != keys[1]


test_some_run_ids, test_many_run_ids = generated(7_500, first=run_ids, second=run_ids)(check_run_ids)

answers = st.dictionaries(
    st.sampled_from(["asked", "asked", "approved", "approved", "who", "why", "at", "aproved", ""]),
    st.one_of(
        st.booleans(),
        st.booleans(),
        st.none(),
        st.integers(-1, 3),
        texts("ann", "2026-11-24T10:15:00", "true"),
        st.just([]),
        st.just({}),
    ),
)


def check_approval(text: str, tally: Tally) -> None:
    """`AGE_APPROVAL`: approved only by a person who said so; nothing else lets a model pass."""
    with tally.attempt("approvals"):
        os.environ["AGE_APPROVAL"] = text
        try:
            found, refused = outcome(read_approval, "AGE_APPROVAL")
        finally:
            del os.environ["AGE_APPROVAL"]
        if refused is not None:
            return
        given = json.loads(text) if text.strip() else {"asked": False}
        assert given["asked"] in (True, False)
        assert (found is None) == (given["asked"] is False)
        if found is not None:
            assert found.approved == (given.get("approved") is True and bool(given.get("who")))
            assert isinstance(found.sentence, str)


test_some_approvals, test_many_approvals = generated(
    8_000,
    text=st.one_of(
        answers.map(json.dumps),
        answers.map(json.dumps),
        answers.map(lambda given: json.dumps(given)[:-1]),
        texts(nul=False),
    ).filter(lambda text: "\0" not in text),
)(check_approval)

LOG = [Promotion(f"k{n}", f"run-{n % 4}-0{n}", n % 4 + 1, "2026", "ann", "", None, None, False) for n in range(7)]


def check_version(name: str, tally: Tally) -> None:
    """The version that a rollback names: that one, or none."""
    with tally.attempt("rollbacks"):
        found, refused = outcome(lambda: find(LOG, name), "no version")
        if refused is None:
            assert name == found.version or name.removeprefix("v").lstrip("0") == str(found.number)
        else:
            assert not re.fullmatch("v?0*[1-4]", name)


test_some_versions, test_many_versions = generated(
    6_000, name=st.one_of(texts("v1", "2", "v04", "v5", "run-1-01", "V1", "v 1", "1.0"), st.integers(-1, 9).map(str))
)(check_version)


def copied(root: Path) -> Store:
    store = FileStore(root)
    for path in WRITTEN.rglob("*.json"):
        store.put(path.relative_to(WRITTEN).as_posix(), path)
    store.put("labels/" + "0" * 64 + ".json", b'{"labels": "x", "sha256": "00", "run": "monday"}')
    return store


def readers(store: Store, cache: Path) -> list[tuple[str, Callable[[], Any]]]:
    """Whatever reads the documents of a store."""
    locations = Locations(store=store.url, cache=cache)

    def of_run(read: Callable[[Any], Any]) -> Callable[[], Any]:
        def act() -> Any:
            with open_run("monday", locations) as run:
                return read(run)

        return act

    version = "monday-f675cb67"
    return [
        ("promotions", lambda: history(store)),
        ("versions", lambda: manifest(store, version)),
        ("run.json", of_run(lambda run: run.config())),
        ("run.json", lambda: runs_in(store)),
        *(
            (f"{stage}/stage.json", of_run(lambda run, stage=stage: run.require_record(stage)))
            for stage in ("split", "gate", "publish")
        ),
        ("stage.json", lambda: newest_run(store, ["split", "gate"])),
        ("promotions", lambda: rollback(store, "why")),
    ]


def check_damaged(data: bytes, key: str, good: bytes, store: Store, cache: Path, tally: Tally) -> None:
    """A document that is damaged: each reader reads what it says or refuses, names it, and changes nothing."""
    with tally.attempt("stored_documents"):
        store.put(key, data)
        before = {each: store.get(each) for each in store.list()}
        for name, read in readers(store, cache):
            if name.rpartition("/")[2] in key or name in key:
                _, refused = outcome(read)
                assert refused is None or isinstance(refused, AgeTasksError)
        after = {each: store.get(each) for each in store.list()}
        assert {each: after[each] for each in before} == before
        for each in set(after) - set(before):
            store.delete(each)
        store.put(key, good)


def damages(many: int, rng: random.Random, request: pytest.FixtureRequest, root: Path, tally: Tally) -> None:
    store = copied(root / "store")
    documents = [key for key in store.list() if not key.startswith("labels/")]
    for _ in attempts(many, request):
        key = rng.choice(documents)
        good = store.get(key)
        if rng.random() < 0.5:
            data = mutated(good, rng, TOKENS)
        else:  # valid JSON with one value replaced
            content = json.loads(good)
            replaced(content, rng)
            data = json.dumps(content).encode()
        check_damaged(data, key, good, store, root / "cache", tally)


def replaced(value: Any, rng: random.Random) -> None:
    """Replace or remove one value, at any depth."""
    while isinstance(value, dict | list) and value:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.7:
            value = value[key]
            continue
        if rng.random() < 0.2:
            del value[key]
        else:
            value[key] = rng.choice(
                [None, True, 0, -1, 1.5, "", "x", [], {}, [1], {"a": 1}, "2026", 10**30, "\n", SECRET * 0]
            )
        return


def test_some_damaged_documents(rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally):
    damages(0, rng, request, tmp_path, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_damaged_documents(rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally):
    damages(6_000, rng, request, tmp_path, tally)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["run", "sha256", "training", "seed", "x"]), inner, max_size=3),
    ),
    max_leaves=5,
)


def check_old_settings(config: Any, tally: Tally) -> None:
    """The settings of a stored run, also of the first version."""
    with tally.attempt("stored_documents"):
        _, refused = outcome(lambda: config_from_stored(config))
        assert refused is None or isinstance(refused, SettingsError)


test_some_old_settings, test_many_old_settings = generated(
    8_000,
    config=st.dictionaries(
        st.sampled_from(["views", "gate", "finetune", "augmentation", "recipe", "x", "evaluate"]), values, max_size=4
    ),
)(check_old_settings)


def check_last_snapshot(data: bytes, tmp_path: Path, tally: Tally) -> None:
    """The record of the last snapshot, which the trigger for new labels reads."""
    with tally.attempt("stored_documents"):
        store = FileStore(tmp_path / "store")
        if not store.list():
            last_snapshot(store, "/x/labels.csv")
        import hashlib

        store.put(f"labels/{hashlib.sha256(b'file:///x/labels.csv').hexdigest()}.json", data)
        found, _ = outcome(lambda: last_snapshot(store, "/x/labels.csv"), "labels/")
        assert found is None or isinstance(found, str)


test_some_snapshots, test_many_snapshots = generated(
    4_000, data=st.one_of(values.map(lambda value: json.dumps(value).encode()), st.binary(max_size=20))
)(check_last_snapshot)
