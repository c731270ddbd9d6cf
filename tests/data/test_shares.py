"""Shares of the images among workers."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_tasks.data.shares import WHOLE, Share, share_of_this_process
from age_tasks.errors import SettingsError


@given(st.text(), st.integers(1, 300))
def test_every_image_belongs_to_one_share(content: str, of: int):
    sha256 = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
    assert sum(Share(number, of).holds(sha256) for number in range(1, of + 1)) == 1
    assert WHOLE.holds(sha256)


def test_shares_are_of_nearly_the_same_size():
    digests = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(10_000)]
    sizes = [sum(map(Share(number, 4).holds, digests)) for number in range(1, 5)]
    assert sum(sizes) == 10_000
    assert max(sizes) < 1.05 * 10_000 / 4


def test_the_environment_names_the_share(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AGE_SHARE", raising=False)
    assert share_of_this_process() == WHOLE
    monkeypatch.setenv("AGE_SHARE", "2/4")
    assert share_of_this_process() == Share(2, 4)
    assert str(share_of_this_process()) == "2/4"


@pytest.mark.parametrize("text", ["0/4", "4", "1/0", "-1/4", "1/4/2", "1 / 4"])
def test_what_is_no_share_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("AGE_SHARE", text)
    with pytest.raises(SettingsError, match="expected a share such as 2/4"):
        share_of_this_process()
