import json

import pytest

from age_tasks.errors import SettingsError
from age_tasks.registry.approval import Approval, read_approval

ANN = {"asked": True, "approved": True, "who": "ann", "why": "looks right", "at": "2026-11-24T10:15:00+00:00"}


@pytest.mark.parametrize(
    ("given", "approved", "sentence"),
    [
        (ANN, True, "approved by ann at 2026-11-24 10:15 UTC: looks right"),
        (ANN | {"approved": False, "why": None}, False, "refused by ann at 2026-11-24 10:15 UTC"),
        (ANN | {"approved": False, "who": None}, False, "not approved: no answer by 2026-11-24 10:15 UTC"),
        (ANN | {"who": None}, False, "not approved: no answer by 2026-11-24 10:15 UTC"),
        (ANN | {"approved": "yes"}, False, "refused by ann at 2026-11-24 10:15 UTC: looks right"),
        ({"asked": True}, False, "not approved: no answer"),
    ],
)
def test_the_answer_in_words(given: dict, approved: bool, sentence: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(given))
    assert (read_approval().approved, read_approval().sentence) == (approved, sentence)


@pytest.mark.parametrize("given", ["", '{"asked": false}'])
def test_without_a_request_there_is_no_answer(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", given)
    assert read_approval() is None


@pytest.mark.parametrize(
    "given",
    [
        "yes",
        "[]",
        "{}",
        "null",
        "true",
        "[" * 100_000,
        '{"asked": 0}',
        '{"asked": "false"}',
        '{"asked": true, "asked": false}',
        '{"asked": true, "aproved": true}',
        '{"asked": true, "approved": true, "who": 3}',
        '{"asked": true, "approved": true, "who": "ann", "at": 5}',
        '{"asked": true, "approved": true, "who": "ann", "at": "noon"}',
        '{"asked": true, "why": {}}',
    ],
)
def test_an_invalid_answer_is_refused(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", given)
    with pytest.raises(SettingsError, match=r"AGE_APPROVAL.*is invalid.*write"):
        read_approval()


def test_an_approval_without_a_reason_names_the_person():
    assert Approval(True, "ann", "", "").sentence == "approved by ann"
