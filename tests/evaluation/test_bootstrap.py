import numpy as np
import pytest

from age_tasks.evaluation import bootstrap
from age_tasks.evaluation.bootstrap import intervals, permutation_p_value


def test_the_interval_agrees_with_scipy():
    from scipy.stats import bootstrap as scipy_bootstrap

    loss = np.random.default_rng(3).gamma(2, 2, 300) - 4
    overall, _ = intervals(loss[:, None], [], 9000, 1)
    theirs = scipy_bootstrap((loss,), np.mean, n_resamples=9000, method="percentile", random_state=2)
    expected = theirs.confidence_interval
    assert overall[0, 0] == pytest.approx(loss.mean())
    assert overall[1:, 0] == pytest.approx((expected.low, expected.high), abs=0.02)


def test_a_group_has_the_interval_of_its_images():
    loss = np.random.default_rng(3).normal((0, 5), 1, (400, 2))
    group = np.arange(400) < 100
    _, (found,) = intervals(loss, [group], 2000, 1)
    assert found[0] == pytest.approx(loss[group].mean(axis=0))
    for column in range(2):
        alone, _ = intervals(loss[group][:, column : column + 1], [], 2000, 2)
        assert found[:, column] == pytest.approx(alone[:, 0], abs=0.03)


def test_the_p_value_agrees_with_scipy():
    from scipy.stats import permutation_test

    loss = np.random.default_rng(4).normal(0.25, 2, 200)
    theirs = permutation_test((loss, np.zeros(200)), lambda a, b: np.mean(a - b), permutation_type="samples", rng=1)
    assert permutation_p_value(loss, 10_000, seed=2) == pytest.approx(theirs.pvalue, abs=0.02)


def test_chunks_bound_the_memory_and_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch):
    loss = np.random.default_rng(3).normal(0, 1, (200, 1))
    (whole, _), draws = intervals(loss, [], 600, 1), []
    draw = np.bincount

    def counted(values: np.ndarray, minlength: int) -> np.ndarray:
        draws.append(len(values))
        return draw(values, minlength=minlength)

    monkeypatch.setattr(bootstrap, "MAX_CHUNK_CELLS", 7 * 200)
    monkeypatch.setattr(np, "bincount", counted)
    chunked, _ = intervals(loss, [], 600, 1)
    assert max(draws) == 7 * 200
    assert chunked == pytest.approx(whole, abs=1e-6)
