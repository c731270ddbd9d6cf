"""How to read the upper end of an interval that 10,000 resamples are too few for: equal models, by test images.

    python -m benchmarks.gate_tails

Prints how often a candidate passes that is as good as the champion, as a multiple of the error that its challenge may
spend: 1 is exact. The tables in docs/decisions/0012-a-champion-s-time-in-office.md are its result.
"""

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from age_tasks.evaluation.bootstrap import intervals
from age_tasks.evaluation.challenges import SHOWN_TAIL, error_of
from benchmarks.gate_models import drawn_ages, spread_of, with_own_part

IMAGES, PAIRS, BLOCK, SAMPLES = (40, 100, 1139), 40_000, 200, 10_000
NUMBERS = (1, 3, 10)  # of the challenge
PEOPLE, EACH = (12, 40, 100), 12  # people, and images of each
OF_PERSON = 0.5  # of the variance of an error: what all images of a person share


def main() -> None:
    print("| test images | upper end | " + " | ".join(f"challenge {number}" for number in NUMBERS) + " |")
    print("|---|---|" + "---|" * len(NUMBERS))
    for images in IMAGES:
        for name, ratios in passed(images).items():
            print(f"| {images} | {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    for people in PEOPLE:
        for name, ratios in passed_of_people(people).items():
            shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {EACH * people}, of {people} people | {name} | {shown} |")


def passed(images: int) -> dict[str, np.ndarray]:
    """For each way, how often a candidate passes per error that may be spent, shape (challenges,)."""
    errors = np.array([error_of(number) for number in NUMBERS])
    normal, wider = (tail(errors) / tail(SHOWN_TAIL) for tail in (norm.isf, lambda tail: student.isf(tail, images - 1)))
    ways = {
        "standard error × normal": norm.isf(errors),
        "standard error × Student": student.isf(errors, images - 1),
        "95 % interval × normal": normal,
        "95 % interval × Student": wider,
    }
    counts = {name: np.zeros(len(errors)) for name in ways}
    for block in range(PAIRS // BLOCK):
        rng = np.random.default_rng([images, block])
        spread, shared = spread_of(drawn_ages(images, rng)), rng.standard_normal((images, BLOCK))
        champion, candidate = (spread * np.abs(with_own_part(shared, rng)) for _ in range(2))
        (value, _, high), _ = intervals(candidate - champion, [], SAMPLES, block)
        error = (candidate - champion).std(axis=0) / np.sqrt(images)
        for name, factors in ways.items():
            reach = error if name.startswith("standard") else high - value
            counts[name] += (value[:, None] + reach[:, None] * factors < 0).sum(axis=0)
    return {name: count / PAIRS / errors for name, count in counts.items()}


def passed_of_people(people: int) -> dict[str, np.ndarray]:
    """As `passed`, by whether Student's degrees of freedom are those of the images or of the people."""
    errors = np.array([error_of(number) for number in NUMBERS])
    freedom = {"images": EACH * people - 1, "people": people - 1}
    ways = {name: student.isf(errors, each) / student.isf(SHOWN_TAIL, each) for name, each in freedom.items()}
    counts = {name: np.zeros(len(errors)) for name in ways}
    for block in range(PAIRS // BLOCK):
        # All show as many images: resampled people are resampled means of people.
        (value, _, high), _ = intervals(differences_of_people(people, block), [], SAMPLES, block)
        for name, factors in ways.items():
            counts[name] += (value[:, None] + (high - value)[:, None] * factors < 0).sum(axis=0)
    return {f"95 % interval × Student, {name}": count / PAIRS / errors for name, count in counts.items()}


def differences_of_people(people: int, block: int) -> np.ndarray:
    """The mean difference of the absolute errors of two equal models on each person's images, shape (people, BLOCK)."""
    rng = np.random.default_rng([EACH, people, block])
    spread = spread_of(drawn_ages(people, rng))[:, None]
    parts = {"person": rng.standard_normal((people, 1, BLOCK)), "image": rng.standard_normal((people, EACH, BLOCK))}
    champion, candidate = (
        spread
        * np.abs(
            np.sqrt(OF_PERSON) * with_own_part(parts["person"], rng)
            + np.sqrt(1 - OF_PERSON) * with_own_part(parts["image"], rng)
        )
        for _ in range(2)
    )
    return np.asarray((candidate - champion).mean(axis=1))


if __name__ == "__main__":
    main()
