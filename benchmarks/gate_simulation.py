"""How often the gate promotes an equal, worse or better model: simulated models with a known true difference.

    python -m benchmarks.gate_simulation

Writes `benchmarks/gate_simulation.json` and prints its tables: single decisions, years of one champion, and how soon a
better candidate is promoted. Each pair of models is scored on its own test set by the code of the gate:
`evaluation.comparison.intervals` with 10,000 resamples and `evaluation.gate.champion_rules`.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from age_tasks.config import GateSettings
from age_tasks.evaluation.gate import champion_rules, passes
from age_tasks.evaluation.results import ChampionComparison
from benchmarks.gate_models import CHAMPION_MAE, described, drawn_ages, spread_of, with_own_part
from benchmarks.gate_years import WEEKS, all_tries, all_years

PAIRS = 2000
TRUE_GAINS = (-0.5, 0.0, 0.5)  # years; below 0 the candidate is worse
TEST_IMAGES = (1139, 5000)
OPTIMISM = ("optimism", "corrected_optimism", "optimism_in_office", "corrected_optimism_in_office")
BLOCK = 100  # pairs that share a test set's ages and the resamples


def main() -> None:
    decisions = [
        {"true_gain_years": gain, "test_images": images, "policy": policy, "promoted_share": share}
        for images in TEST_IMAGES
        for gain in TRUE_GAINS
        for policy, share in promoted(images, gain).items()
    ]
    found = {"decisions": decisions, "years": all_years(), "tries": all_tries()}
    (Path(__file__).parent / "gate_simulation.json").write_text(json.dumps(found, indent=2) + "\n")
    print("\n\n".join([decisions_table(decisions), years_table(found["years"]), tries_table(found["tries"])]))


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
    rng = np.random.default_rng([seed, images])
    ages = drawn_ages(images, rng)
    return described(differences(ages, gain, rng), ages, seed)


def differences(ages: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Absolute error of the candidate less the champion's, shape (images, BLOCK), of expectation `-gain`."""
    shared = rng.standard_normal((len(ages), BLOCK))
    champion, candidate = (np.abs(with_own_part(shared, rng)) for _ in range(2))
    loss: np.ndarray = spread_of(ages) * (candidate * (1 - gain / CHAMPION_MAE) - champion)
    return loss


def decisions_table(rows: Sequence[dict[str, Any]]) -> str:
    """Single decisions, each the champion's first challenge, as Markdown."""
    lines = ["| candidate's true MAE | test images | policy | promoted |", "|---|---|---|---|"]
    for row in rows:
        said = _said(row["true_gain_years"])
        lines.append(f"| {said} | {row['test_images']} | `{row['policy']}` | {row['promoted_share']:.2%} |")
    return "\n".join(lines)


def years_table(rows: Sequence[dict[str, Any]]) -> str:
    """Years of weekly candidates, as Markdown."""
    lines = [
        f"| {WEEKS} candidates, true MAE | level | years in which one was promoted | true less test MAE of those | "
        "corrected | of the champion after the year | corrected |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        level = "95 % each time" if row["each_at_95"] else "by challenge"
        bias = [row[f"{name}_years"] for name in OPTIMISM]
        shown = " | ".join("–" if years is None else f"{years:+z.3f}" for years in bias)
        lines.append(f"| {_said(row['true_gain_years'])} | {level} | {row['replaced_share']:.2%} | {shown} |")
    return "\n".join(lines)


def tries_table(rows: Sequence[dict[str, Any]]) -> str:
    """How soon a candidate that is 0.5 years better is promoted, as Markdown."""
    lines = [
        "| first try is challenge | test images | promoted at the first try | within three | true less test MAE | "
        "corrected |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        bias = f"{row['optimism_years']:+.3f} | {row['corrected_optimism_years']:+.3f}"
        shares = f"{row['first_try']:.2%} | {row['within_three']:.2%}"
        lines.append(f"| {row['challenge']} | {row['test_images']} | {shares} | {bias} |")
    return "\n".join(lines)


def _said(gain: float) -> str:
    return "equal" if gain == 0 else f"{abs(gain):g} years {'lower' if gain > 0 else 'higher'}"


if __name__ == "__main__":
    main()
