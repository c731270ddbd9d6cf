"""Years in office: 52 weekly candidates judged by the gate, on one test set that grows.

The images' difficulty and the champion's errors stay as they are from week to week. Each candidate is a new training,
whose errors correlate with the champion's. So repeated tests on the same images do not forget an unlucky champion.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.stats import foldnorm, norm

from age_tasks.config import GateSettings
from age_tasks.evaluation.challenges import SHOWN_TAIL, challenge, error_of
from age_tasks.evaluation.gate import champion_rules, passes, passing_difference
from age_tasks.evaluation.results import Challenge, ChampionComparison, Selection
from age_tasks.evaluation.selection import selection
from benchmarks.gate_models import CHAMPION_MAE, CORRELATION, described, drawn_ages, spread_of, with_own_part

YEARS = 2000
WEEKS = 52
FIRST_CHALLENGES = (1, 10, 26, 52)
FIRST_IMAGES, GROWTH = 1139, 1.01  # test images in the first week, and from one week to the next
# Only candidates that may pass are resampled: the least gain is a bound on their mean, which needs no resamples, and
# none passes whose mean is fewer standard errors below 0 than this part of the normal quantile.
SCREEN = 0.9
BLOCK = 250  # years whose test images are of the same ages; those of one week share the resamples
SETTINGS = GateSettings()


@dataclass
class Outcome:
    """What became of a champion in each of the years. Optimism is the true MAE less the test MAE, in years of age.

    Args:
        tries: the candidates until the first was promoted; 0 if none was.
        optimism: of each candidate that was promoted, on the test images of that time.
        corrected: the same after the correction that the report shows.
        in_office: the optimism of the champion at the end of each year, on the test images of that time.
        in_office_corrected: the same after the correction.
    """

    tries: np.ndarray
    optimism: np.ndarray
    corrected: np.ndarray
    in_office: np.ndarray
    in_office_corrected: np.ndarray

    def within(self, tries: int) -> float:
        """In which fraction of the years one of the first candidates was promoted."""
        return float(((self.tries > 0) & (self.tries <= tries)).mean())

    def row(self) -> dict[str, float | int | None]:
        """The numbers of all years."""
        return {
            "years": len(self.tries),
            "replaced_share": self.within(WEEKS),
            "promotions": len(self.optimism),
            "optimism_years": _mean(self.optimism),
            "corrected_optimism_years": _mean(self.corrected),
            "optimism_in_office_years": _mean(self.in_office),
            "corrected_optimism_in_office_years": _mean(self.in_office_corrected),
        }


def all_years(years: int = YEARS) -> list[dict[str, Any]]:
    """A row for each true gain; and one of equal candidates, as if each decision stood alone."""
    rows = []
    for gain, each_at_95 in ((-0.5, False), (0.0, False), (0.0, True)):
        start = time.monotonic()
        row: dict[str, Any] = {"true_gain_years": gain, "each_at_95": each_at_95}
        rows.append(row | simulated(gain, years, seed=1, each_at_95=each_at_95).row())
        print(f"{rows[-1]}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return rows


def all_tries(years: int = YEARS) -> list[dict[str, Any]]:
    """How soon a better candidate is promoted, by the number of the first challenge."""
    rows = []
    for first in FIRST_CHALLENGES:
        start = time.monotonic()
        found = simulated(0.5, years, seed=2, first=first, weeks=3)
        row: dict[str, Any] = {"true_gain_years": 0.5, "challenge": first, "test_images": images_at(first)}
        rows.append(row | {"first_try": found.within(1), "within_three": found.within(3)} | found.row())
        print(f"{rows[-1]}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return rows


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def images_at(number: int) -> int:
    """Test images at the challenge with this number, one a week from 1 on."""
    return round(FIRST_IMAGES * GROWTH ** (number - 1))


def simulated(
    gain: float, years: int, seed: int, first: int = 1, weeks: int = WEEKS, each_at_95: bool = False
) -> Outcome:
    """One candidate a week against the champion, many times, with other models each time.

    A candidate that is promoted holds office from then on, and its challenges are counted from 1.

    Args:
        gain: how much lower the true MAE of every candidate is than the champion's, in years.
        years: a multiple of `BLOCK`.
        first: the number of the challenge in the first week.
        each_at_95: whether every decision is made at 95 %, as in 0.1.0.
    """
    blocks = [_block(gain, [seed, block], first, weeks, each_at_95) for block in range(years // BLOCK)]
    return Outcome(
        **{each.name: np.concatenate([getattr(block, each.name) for block in blocks]) for each in fields(Outcome)}
    )


def _block(gain: float, seed: list[int], first: int, weeks: int, each_at_95: bool) -> Outcome:
    """Years in which the test images are of the same ages; arguments as for `simulated`."""
    rng = np.random.default_rng([*seed, first, weeks])
    ages = drawn_ages(images_at(first + weeks - 1), rng)
    spread, shared = spread_of(ages), rng.standard_normal((len(ages), BLOCK))
    true, better = spread * expected(shared), 1 - gain / CHAMPION_MAE
    champion, share = spread * np.abs(with_own_part(shared, rng)), np.ones(BLOCK)  # of the first champion's true MAE
    numbers, tries = np.full(BLOCK, first), np.zeros(BLOCK, int)
    chosen: dict[int, Selection] = {}
    promoted = []
    for week in range(weeks):
        images = images_at(first + week)
        candidate = better * spread * np.abs(with_own_part(shared, rng))
        for year, found in _may_pass((candidate - champion)[:images], ages[:images], numbers, each_at_95, seed=week):
            if not passes(champion_rules(found, SETTINGS, SETTINGS)):
                continue
            champion[:, year], share[year], numbers[year] = candidate[:, year], better, 0
            tries[year] = tries[year] or week + 1
            chosen[year] = selection(found, passing_difference(found, SETTINGS))
            too_good = float((better * true[:, year] - candidate[:, year])[:images].mean())
            promoted.append((too_good, too_good - chosen[year].optimism))
        numbers = numbers + 1
    in_office = (share * true - champion)[:images].mean(axis=0)
    known = np.array([chosen[year].among(images) if year in chosen else 0 for year in range(BLOCK)])
    optimism, corrected = np.array(promoted).reshape(-1, 2).T
    return Outcome(tries, optimism, corrected, in_office, in_office - known)


def expected(shared: np.ndarray) -> np.ndarray:
    """The mean absolute standardised error of all trainings on each image, from the part that they share."""
    own = np.sqrt(1 - CORRELATION)
    return np.asarray(foldnorm.mean(np.abs(np.sqrt(CORRELATION) * shared) / own, scale=own))


def _may_pass(
    loss: np.ndarray, ages: np.ndarray, numbers: np.ndarray, each_at_95: bool, seed: int
) -> Iterator[tuple[int, ChampionComparison]]:
    """The columns of candidates that may pass, and each as the gate sees it."""
    errors = [SHOWN_TAIL if each_at_95 else error_of(int(number)) for number in numbers]
    value, standard_error = loss.mean(axis=0), loss.std(axis=0) / np.sqrt(len(loss))
    enough = value + SCREEN * norm.isf(errors) * standard_error < 0
    columns = np.flatnonzero(enough & (value <= -SETTINGS.min_gain_years))
    if not len(columns):
        return
    for column, found in zip(columns, described(loss[:, columns], ages, seed), strict=True):
        if each_at_95:
            asked = Challenge(number=1, level=1 - 2 * SHOWN_TAIL, upper=found.high)
        else:
            asked = challenge(found, int(numbers[column]))
        yield int(column), found.model_copy(update={"challenge": asked})
