import json

import pytest

from age_tasks.errors import SettingsError
from age_tasks.registry.approval import Approval, approval

ANN = {"asked": True, "approved": True, "who": "ann", "why": "looks right", "at": "2026-11-24T10:15:00+00:00"}


@pytest.mark.parametrize(
    ("given", "approved", "said"),
    [
        (ANN, True, "approved by ann at 2026-11-24 10:15 UTC: looks right"),
        (ANN | {"approved": False, "why": None}, False, "refused by ann at 2026-11-24 10:15 UTC"),
        (
            ANN | {"approved": False, "who": None},
            False,
            "nobody had approved it at 2026-11-24 10:15 UTC, when the time to answer was up",
        ),
        (ANN | {"who": None}, False, "nobody had approved it at 2026-11-24 10:15 UTC, when the time to answer was up"),
        (ANN | {"approved": "yes"}, False, "refused by ann at 2026-11-24 10:15 UTC: looks right"),
        ({"asked": True}, False, "nobody had approved it"),
    ],
)
def test_the_answer_in_words(given: dict, approved: bool, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", json.dumps(given))
    assert (approval().approved, approval().sentence) == (approved, said)


@pytest.mark.parametrize("given", ["", '{"asked": false}'])
def test_nobody_need_be_asked(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", given)
    assert approval() is None


@pytest.mark.parametrize("given", ["yes", "[]", "{}", "null", "true"])
def test_what_is_no_answer_is_refused(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_APPROVAL", given)
    with pytest.raises(SettingsError, match=r"AGE_APPROVAL.*is no answer.*write"):
        approval()


def test_an_approval_without_a_word_names_the_person():
    assert Approval(True, "ann", "", "").sentence == "approved by ann"
