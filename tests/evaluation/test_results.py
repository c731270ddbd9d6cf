"""What results say of themselves, beyond what was measured."""

import pytest

from age_tasks.evaluation.results import corrected
from tests.support.metrics import CHAMPION, comparison_of


@pytest.mark.parametrize("optimism", [None, 0.0, 0.0049, -0.1])
def test_a_correction_that_two_decimals_would_not_show_is_none(optimism: float | None):
    assert corrected(7.41, optimism) is None
    assert comparison_of(**CHAMPION, optimism=optimism).corrected_champion_mae is None


def test_a_mae_is_corrected_upwards_by_what_selection_took_off():
    assert corrected(7.41, 0.12) == pytest.approx(7.53)
    assert comparison_of(**CHAMPION, optimism=0.12).corrected_champion_mae == pytest.approx(7.532)
