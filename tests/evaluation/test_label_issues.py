import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from age_tasks.evaluation.label_issues import FOLDS, STRENGTHS, out_of_fold_ages, rank_by_label_error


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Features that are linear in age, with noise; float16 as in the cache."""
    rng = np.random.default_rng(1)
    ages, width = rng.uniform(1, 90, 1500), 60
    return (np.outer(ages, rng.normal(0, 0.1, width)) + rng.normal(0, 4, (1500, width))).astype("float16"), ages


def test_no_age_is_predicted_from_its_own_label(faces: tuple[np.ndarray, np.ndarray]):
    features, ages = faces
    before = out_of_fold_ages(lambda rows: features[rows], ages, seed=3)
    changed = ages.copy()
    changed[7] += 1000
    after = out_of_fold_ages(lambda rows: features[rows], changed, seed=3)
    assert after[7] == pytest.approx(before[7], abs=0.5)
    assert np.abs(before - ages).mean() < 6


def test_the_ages_agree_with_scikit_learn_s_ridge(faces: tuple[np.ndarray, np.ndarray]):
    features, ages = faces
    found = out_of_fold_ages(lambda rows: features[rows], ages, seed=3)
    fold = np.random.default_rng(3).permutation(len(ages)) % FOLDS
    x, best = features.astype("float64"), np.inf
    for strength in STRENGTHS:
        theirs = np.empty(len(ages))
        for at in range(FOLDS):
            seen = fold != at
            shrink = strength * (x[seen] ** 2).sum() / x.shape[1]
            theirs[~seen] = Ridge(alpha=shrink).fit(x[seen], ages[seen]).predict(x[~seen])
        if (error := np.abs(theirs - ages).mean()) < best:
            best, expected = error, theirs
    assert found == pytest.approx(expected, abs=1e-3)


def test_label_errors_of_forty_years_rank_first(faces: tuple[np.ndarray, np.ndarray]):
    features, ages = faces
    wrong = np.arange(0, 1500, 100)
    planted = ages.copy()
    planted[wrong] = np.where(ages[wrong] > 50, ages[wrong] - 40, ages[wrong] + 40)
    other = out_of_fold_ages(lambda rows: features[rows], planted, seed=3)
    table = rank_by_label_error(pd.DataFrame({"row": range(1500), "real_age": planted, "other_age": other}))
    assert set(table["row"].head(len(wrong))) == set(wrong)
    assert (table["relative_error"].head(len(wrong)) > 3).all()


def test_an_error_counts_relative_to_the_typical_error_at_that_age():
    rng = np.random.default_rng(2)
    other = rng.uniform(0, 90, 3000)
    real = other + rng.normal(0, np.where(other < 15, 1, 12))
    real[:2], other[:2] = (20.0, 80.0), (8.0, 60.0)  # a child off by 12 years, an old one off by 20
    table = rank_by_label_error(pd.DataFrame({"row": range(3000), "real_age": real, "other_age": other}))
    child, old = (table.index[table["row"] == row][0] for row in (0, 1))
    assert child < old
