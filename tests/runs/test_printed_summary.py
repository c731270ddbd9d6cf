"""The summary of a command as the line that Airflow reads back."""

import json
from typing import Any

import pytest

from age_tasks.evaluation.results import ChampionComparison, Rule
from age_tasks.runs.printed_summary import print_summary, read_summary_line, summary_line
from tests.support.metrics import judged_summary

MOST = 3072  # as pods have it


def read_back(summary: dict[str, Any], most: int = MOST) -> dict[str, Any]:
    line = summary_line(summary, most)
    assert len(line.encode()) < most
    assert "\n" not in line
    found: dict[str, Any] = read_summary_line(line)
    return found


def test_without_a_bound_it_is_plain_json():
    summary = judged_summary(slices=300)
    assert json.loads(summary_line(summary)) == summary == read_summary_line(summary_line(summary))


def test_what_fits_is_plain_json():
    summary = {"run": "monday", "read_as": "semicolons – über", "rows": 3}
    assert json.loads(summary_line(summary, MOST)) == summary


@pytest.mark.parametrize("slices", [0, 5])
def test_the_gate_with_a_champion_is_packed_and_loses_nothing(slices: int):
    summary = judged_summary(slices=slices)
    assert len(json.dumps(summary)) > 4096
    assert read_back(summary) == summary


@pytest.mark.parametrize("slices", [30, 300, 3000])
def test_any_number_of_slices_fits_and_what_is_asked_of_a_person_stays(slices: int):
    summary = judged_summary(slices=slices)
    found = read_back(summary)
    whole, champion = summary["champion"], found["champion"]
    assert found.pop("shortened") is True
    assert 0 < len(champion["slices"]) < slices
    assert champion["slices"] == whole["slices"][: len(champion["slices"])]
    assert found | {"champion": None} == summary | {"champion": None}
    assert champion | {"slices": None} == whole | {"slices": None}
    assert len(summary["champion"]["slices"]) == slices  # the stage's own is left as it is


@pytest.mark.parametrize("rules", [100, 2000])
def test_any_number_and_length_of_rules_fits(rules: int):
    summary = judged_summary(slices=2)
    for number in range(rules):
        summary["rules"].append(summary["rules"][0] | {"name": f"{number} " + "".join(map(chr, range(200, 5000)))})
    found = read_back(summary)
    assert (found["passed"], found["model"]) == (summary["passed"], summary["model"])
    ChampionComparison.model_validate(found["champion"])
    assert all(Rule.model_validate(rule) for rule in found["rules"])


def test_long_texts_alone_fit():
    found = read_back({"passed": False, **{name: "".join(map(chr, range(200, 20_000))) for name in "abcdefgh"}})
    assert found["passed"] is False
    assert found["a"].endswith("…")


@pytest.mark.parametrize("line", ["", '{"packed": "eJz', '{"packed": "AAAA"}', '{"packed": "?"}', '{"packed": 1}'])
def test_a_line_that_was_cut_is_none(line: str):
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|no packed summary|base64|padding"):
        read_summary_line(line)


def test_the_variable_bounds_what_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    summary = judged_summary(slices=30)
    print_summary(summary)
    monkeypatch.setenv("AGE_SUMMARY_BYTES", "2000")
    print_summary(summary)
    plain, packed = capsys.readouterr().out.splitlines()
    assert json.loads(plain) == summary
    assert len(packed) < 2000
    assert read_summary_line(packed)["verdict"] == summary["verdict"]
