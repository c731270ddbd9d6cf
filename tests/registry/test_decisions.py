import json
from pathlib import Path

from age_tasks.config import SettingChange
from age_tasks.registry.approval import Approval
from age_tasks.registry.decisions import DECISIONS, Decision, answer_of, decisions, put_decision
from age_tasks.store.base import Store
from age_tasks.store.files import FileStore

AT = "2026-11-24T10:15:00.250+00:00"
REFUSED = Approval(False, "ann", "worse on children", "2026-11-24T10:20:00+00:00")


def verdict(**changed: object) -> Decision:
    plain = {"run": "monday", "by": "gate", "passed": True, "verdict": "passed: all 3 rules hold", "at": AT}
    return Decision.model_validate(plain | changed)


def test_a_later_decision_leaves_the_earlier_ones(store: Store):
    put_decision(store, verdict())
    put_decision(store, answer_of("monday", REFUSED, AT))
    before = {key: store.get(key) for key in store.list(DECISIONS)}
    put_decision(store, answer_of("monday", Approval(True, "bob", "", "2026-11-25T09:00:00+00:00"), AT))
    assert before.items() <= {key: store.get(key) for key in store.list(DECISIONS)}.items()
    assert [(each.by, each.passed, each.who) for each in decisions(store)] == [
        ("gate", True, None),
        ("person", False, "ann"),
        ("person", True, "bob"),
    ]


def test_the_same_decision_written_again_is_one(tmp_path: Path):
    store = FileStore(tmp_path)
    for _ in range(3):
        put_decision(store, answer_of("monday", REFUSED, AT))
    (only,) = decisions(store)
    assert only.verdict == "refused by ann at 2026-11-24 10:20 UTC: worse on children"


def test_two_decisions_of_one_moment_both_stay(tmp_path: Path):
    store = FileStore(tmp_path)
    put_decision(store, verdict())
    put_decision(store, verdict(run="tuesday"))
    assert {each.run for each in decisions(store)} == {"monday", "tuesday"}


def test_an_answer_without_a_time_gets_one(tmp_path: Path):
    store = FileStore(tmp_path)
    put_decision(store, answer_of("monday", Approval(False, None, "", ""), AT))
    (only,) = decisions(store)
    assert (only.at, only.who, only.verdict) == (AT, None, "not approved: no answer")


def test_changed_settings_stand_in_the_decision(tmp_path: Path):
    store, change = FileStore(tmp_path), SettingChange(name="gate.max_test_mae", value=20, recipe=9.0)
    put_decision(store, verdict(changed=(change,)))
    assert json.loads(store.get(store.list(DECISIONS)[0]))["changed"] == [
        {"name": "gate.max_test_mae", "value": 20, "recipe": 9.0}
    ]
    assert decisions(store)[0].changed[0].sentence == "gate.max_test_mae 20 (recipe: 9)"
