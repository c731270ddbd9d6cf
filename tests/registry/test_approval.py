import json

import pytest

from age_tasks.errors import MissingInputError, SettingsError
from age_tasks.registry.approval import Approval, Question, read_approval, require_answer_to

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
        '{"asked": true, "model": 3}',
    ],
)
def test_an_invalid_answer_is_refused(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", given)
    with pytest.raises(SettingsError, match=r"AGE_APPROVAL.*is invalid.*write"):
        read_approval()


def test_an_approval_without_a_reason_names_the_person():
    assert Approval(True, "ann", "", "").sentence == "approved by ann"


JUDGED = Question("ab12" * 16, "sunday")


@pytest.mark.parametrize("given", [{"asked": False}, {"asked": True}, ANN, ANN | {"model": None}])
def test_an_answer_that_does_not_say_what_it_is_about_counts(given: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(given))
    require_answer_to(JUDGED)


@pytest.mark.parametrize("champion", ["sunday", ""])
def test_an_answer_counts_for_the_comparison_that_it_is_about(champion: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(ANN | {"model": JUDGED.model, "champion": champion}))
    require_answer_to(Question(JUDGED.model, champion))
    for other in (Question(JUDGED.model, "monday"), Question("0" * 64, champion)):
        with pytest.raises(MissingInputError, match=rf"asked about model ab12ab12ab12 .*passed {other} since"):
            require_answer_to(other)


def test_a_model_that_the_gate_had_refused_was_not_asked_about(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", json.dumps({"asked": False, "model": JUDGED.model, "champion": "sunday"}))
    with pytest.raises(MissingInputError, match="asked nobody, since the gate had refused"):
        require_answer_to(JUDGED)
