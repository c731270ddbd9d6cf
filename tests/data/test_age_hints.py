import pytest

from age_tasks.data.age_hints import age_hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("12,5", "; write 12.5"),
        ("34 years", "; write 34"),
        ("34y", "; write 34"),
        ("34 J.", "; write 34"),
        ("~34", "; write 34"),
        ("34?", "; write 34"),
        ("'34'", "; write 34"),
        ("３４", "; write 34"),
        ("18 months", "; write 1.5"),
        ("1985", "; if it is a year of birth, write the age in years"),
        ("", "; it is empty"),
        (" ", "; it is empty"),
        ("345", ""),
        ("345 years", ""),
        ("thirty", ""),
        ("30-35", ""),
        ("30/31", ""),
        ("34 cm", ""),
        ("-4", ""),
        ("1e3", ""),
        ("nan", ""),
        ("\N{SUPERSCRIPT TWO}?", "; write 2"),
    ],
)
def test_an_age_that_can_be_read_has_a_hint(text: str, hint: str):
    assert age_hint(text) == hint
