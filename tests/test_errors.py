"""Messages of errors: a line for each problem, whatever is in the names and values."""

import pytest

from age_tasks.errors import LabelsError, SettingsError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no a\nb.csv", r"no a\nb.csv"),
        ("\x1b[31mred \x9b1m \u2028 \u202egnp \u2066 \udcff", r"\x1b[31mred \x9b1m \u2028 \u202egnp \u2066 \udcff"),
        ("فا\u200cرسی \u202f \u3000 😀", "فا\u200cرسی \u202f \u3000 😀"),
        ("http://me:pass@host:80/x?y", "http://host:80/x?y"),
        ("s3://AKIA:pa/ss@bucket/x@y", "s3://y"),
        ("at 'http://host:9000/a@b', http://[::1]:9000/c@d", "at 'http://host:9000/a@b', http://[::1]:9000/c@d"),
        ("s3://bucket/a@b: x", "s3://bucket/a@b: x"),
    ],
)
def test_a_message_is_one_line_without_users(given: str, said: str):
    assert str(LabelsError(given)) == said


def test_each_problem_is_a_line():
    assert str(SettingsError("a\nb", "c")) == "a\\nb\nc"
    assert str(SettingsError()) == ""


def test_an_endless_value_is_cut_and_the_cure_stays():
    said = str(SettingsError("AGE_X=" + "x" * 1_000_000 + "; set it"))
    assert len(said) < 5000
    assert said.startswith("AGE_X=xxx")
    assert said.endswith("xxx; set it")
