"""What a promoted candidate's test MAE owes to having been chosen by it."""

import math
from statistics import NormalDist

from age_tasks.evaluation.challenges import SHOWN_TAIL
from age_tasks.evaluation.results import ChampionComparison, Selection

CANDIDATE_SHARE = 0.5  # of the difference's chance: the other half is the champion's, which was trained alike


def selection(comparison: ChampionComparison, threshold: float) -> Selection:
    """The correction of the test MAE of a candidate that passed.

    Differences that passed are larger than the true ones on average (the winner's curse). The true one is estimated
    from the likelihood of what was observed given that it passed (Zhong and Prentice, Biostatistics 9, 2008): it is the
    one whose expectation, of those that pass, was observed. That the candidate is worse than the champion is ruled out.

    Args:
        threshold: the candidate passed since the difference was below it, in years.
    """
    observed = comparison.value
    error = (comparison.high - observed) / NormalDist().inv_cdf(1 - SHOWN_TAIL)
    true = _true_difference(observed, error, threshold) if error > 0 and observed < threshold else observed
    optimism = round(CANDIDATE_SHARE * (true - observed), 4)
    return Selection(optimism=optimism, images=comparison.images, people=comparison.people)


def _true_difference(observed: float, error: float, threshold: float) -> float:
    """The true difference, between the observed one and none.

    Args:
        error: the standard error of the difference, whose distribution is normal.
    """
    from scipy.optimize import brentq  # both slow to import, and pages that know the gate need neither
    from scipy.special import log_ndtr

    def excess(true: float) -> float:
        """The expectation of a difference that passed, less the observed one."""
        reach = (threshold - true) / error
        hazard = math.exp(-(reach**2) / 2 - math.log(2 * math.pi) / 2 - log_ndtr(reach))
        return true - error * hazard - observed

    none = max(observed, 0.0)
    return none if excess(none) <= 0 else float(brentq(excess, observed, none))
