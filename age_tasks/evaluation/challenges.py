"""How sure the gate has to be at each challenge of a champion, so that its promise holds for all its time in office."""

from age_tasks.evaluation.results import Challenge, PairedComparison

# Of a champion that is never challenged by anything better, how likely it is ever replaced, however often it is tried.
ERROR_IN_OFFICE = 0.05
SHOWN_TAIL = 0.025  # above the upper end of the 95 % interval


def error_spent(challenges: int) -> float:
    """The probability that so many challenges of one champion, by models not better than it, replace it: at most this.

    An alpha-spending function (Lan and DeMets, Biometrika 70, 1983): it approaches `ERROR_IN_OFFICE`, and never reaches
    it. By Bonferroni's inequality it holds however the challenges depend on each other, as they do on the same test
    images and the same champion (alpha-spending for hypotheses that come one after the other: Tian and Ramdas,
    Statistical Methods in Medical Research 30, 2021).
    """
    return ERROR_IN_OFFICE * challenges / (challenges + 1)


def error_of(number: int) -> float:
    """The part of `error_spent` that the challenge with this number, from 1 on, may spend: 2.5 % for the first.

    Chosen by simulation, see docs/decisions/0012-a-champion-s-time-in-office.md.
    """
    return ERROR_IN_OFFICE / (number * (number + 1))


def challenge(comparison: PairedComparison, number: int) -> Challenge:
    """What a candidate needs as the champion's challenge with this number, from 1 on.

    The upper end is that of the 95 % bootstrap interval, moved out as far as Student's distribution is wider at the
    level of the challenge: 10,000 resamples have too few values beyond 0.1 % to count them. Its degrees of freedom are
    those of the people where they are known, since these are what is resampled.
    """
    from scipy.special import stdtrit  # slow to import, and pages that know the gate need it not

    error, freedom = error_of(number), max((comparison.people or comparison.images) - 1, 1)
    wider = stdtrit(freedom, 1 - error) / stdtrit(freedom, 1 - SHOWN_TAIL)
    upper = comparison.value + (comparison.high - comparison.value) * float(wider)
    return Challenge(number=number, level=1 - 2 * error, upper=round(upper, 4))
