"""How often the gate promotes an equal, worse or better model: simulated pairs with a known true difference.

    python -m benchmarks.gate_simulation

Writes `benchmarks/gate_simulation.json` and prints the table. Each pair is scored on its own test set by the code of
the gate: `evaluation.comparison.intervals` with 10,000 resamples and `evaluation.gate.champion_rules`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from age_tasks.config import EvaluateSettings, GateSettings
from age_tasks.evaluation.bootstrap import intervals
from age_tasks.evaluation.gate import champion_rules, passes
from age_tasks.evaluation.results import BinDifference, ChampionComparison

PAIRS = 2000
TRUE_GAINS = (-0.5, 0.0, 0.5)  # years; below 0 the candidate is worse
TEST_IMAGES = (1139, 5000)
BLOCK = 100  # pairs that share a test set's ages and the resamples
CHAMPION_MAE = 6.5  # years
# Of the errors of two trainings of one recipe on 7,591 images: both err on the same difficult ones.
CORRELATION = 0.8
AGES = (2.2, 14.3)  # a gamma distribution: mean 31, standard deviation 21 years


def main() -> None:
    rows = [
        {"true_gain_years": gain, "test_images": images, "policy": policy, "promoted_share": share}
        for images in TEST_IMAGES
        for gain in TRUE_GAINS
        for policy, share in promoted(images, gain).items()
    ]
    (Path(__file__).parent / "gate_simulation.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(table(rows))


def promoted(images: int, gain: float) -> dict[str, float]:
    """The fraction of pairs that pass, by policy.

    Args:
        images: in the test set.
        gain: how much lower the candidate's true MAE is, in years.
    """
    policies = {policy: GateSettings(policy=policy) for policy in ("better", "not_worse")}
    passed = dict.fromkeys(policies, 0)
    start = time.monotonic()
    for block in range(PAIRS // BLOCK):
        for comparison in compared(images, gain, seed=block):
            for policy, settings in policies.items():
                passed[policy] += passes(champion_rules(comparison, settings, settings))
    print(f"{images} images, gain {gain:+g}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return {policy: count / PAIRS for policy, count in passed.items()}


def compared(images: int, gain: float, seed: int) -> list[ChampionComparison]:
    """`BLOCK` pairs of models on one set of ages, each as `evaluation.comparison.compare` would describe it."""
    rng, edges = np.random.default_rng([seed, images]), np.array(EvaluateSettings().bin_edges)
    ages = rng.gamma(*AGES, images).clip(1, 100)
    loss = differences(ages, gain, rng)
    number = np.digitize(ages, edges[1:-1], right=True)
    groups = [mask for mask in (number == at for at in range(len(edges) - 1)) if mask.any()]
    overall, bins = intervals(loss, groups, EvaluateSettings().comparison_samples, seed)
    names, sizes = ("value", "low", "high"), [int(mask.sum()) for mask in groups]
    return [
        ChampionComparison(
            **dict(zip(names, overall[:, pair], strict=True)),
            images=images,
            bins=tuple(
                BinDifference(**dict(zip(names, found[:, pair], strict=True)), images=size, low_age=0, high_age=0)
                for size, found in zip(sizes, bins, strict=True)
            ),
            new_images=500,
            drift=0.0,
            seen_in_training=0,
            version="simulated",
            name="v1",
            candidate_mae=CHAMPION_MAE - gain,
            champion_mae=CHAMPION_MAE,
            p_value=1.0,
        )
        for pair in range(BLOCK)
    ]


def differences(ages: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Absolute error of the candidate less the champion's, shape (images, BLOCK), of expectation `-gain`.

    Errors are normal, wider with age as they are in practice, and correlated between the two models.
    """
    spread = (0.5 + ages / 60)[:, None]
    spread *= CHAMPION_MAE / (np.sqrt(2 / np.pi) * spread.mean())
    shared, champion, candidate = (rng.standard_normal((len(ages), BLOCK)) for _ in range(3))
    champion = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * champion
    candidate = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * candidate
    loss: np.ndarray = spread * (np.abs(candidate) * (1 - gain / CHAMPION_MAE) - np.abs(champion))
    return loss


def table(rows: list[dict[str, Any]]) -> str:
    """The result as Markdown."""
    lines = ["| candidate's true MAE | test images | policy | promoted |", "|---|---|---|---|"]
    for row in rows:
        gain = row["true_gain_years"]
        said = "equal" if gain == 0 else f"{abs(gain):g} years {'lower' if gain > 0 else 'higher'}"
        lines.append(f"| {said} | {row['test_images']} | `{row['policy']}` | {row['promoted_share']:.2%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
