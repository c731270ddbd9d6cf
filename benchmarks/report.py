"""The benchmark's results as a page of Markdown and a plot."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from age_tasks.figures import ACCENT, BASELINE, FINETUNE, STYLE

ROWS = (
    ("first run, plain / ours", "first_run_ratio"),
    ("5 % new labels, plain from scratch / ours", "incremental_ratio"),
    ("the same with a warm start of 3 epochs", "warm_start_ratio"),
    ("time to the plain recipe's best validation MAE, plain / ours", "time_to_equal_mae_ratio"),
    ("seconds of a run with nothing new", "unchanged_seconds"),
    ("test MAE (years), plain, a number a seed", "mae_plain"),
    ("test MAE (years), ours, a number a seed", "mae_ours"),
    ("test MAE (years), ours after 5 % new labels", "mae_incremental"),
    ("test MAE (years), ours with a warm start", "mae_warm_start"),
    ("peak memory (GB)", "peak_memory_gb"),
)


def write_report(results: dict[str, Any], folder: Path) -> None:
    """`results.md` and `results.png` in `folder`, from what `results.json` holds."""
    _draw(results["backbones"], folder / "results.png")
    (folder / "results.md").write_text(_page(results))


def _page(results: dict[str, Any]) -> str:
    backbones = results["backbones"]
    lines = ["# Measured", "", f"{results['images']} faces, recipe `reference`, {results['machine']}.", ""]
    lines += ["```", results["command"], "```", "", "![validation MAE against seconds](results.png)", ""]
    lines += [_row(["", *backbones]), _row(["---"] * (1 + len(backbones)))]
    lines += [_row([label, *(_text(found[key]) for found in backbones.values())]) for label, key in ROWS]
    for name, found in backbones.items():
        lines += ["", f"## {name}: how it grows", ""]
        lines += [_row(["faces", "plain (s)", "ours (s)", "ratio", "ours, peak memory (GB)"]), _row(["---"] * 5)]
        for scale, at in found["growth"].items():
            ratio = f"{at['plain'] / at['ours']:.1f}"
            faces = str(int(scale) * results["images"])
            lines.append(_row([faces, f"{at['plain']:.0f}", f"{at['ours']:.0f}", ratio, str(at["ours_memory_gb"])]))
        rates = found["rates"]
        lines += ["", f"## {name}: images a second (XLA {'on' if rates['xla'] else 'off'})", ""]
        lines += [_row(["part", "images/s", f"share of {rates['peak_gflops']} GFLOP/s"]), _row(["---"] * 3)]
        for part, rate in rates["images_per_second"].items():
            share = rates["share_of_peak"].get(part)
            lines.append(_row([part.replace("_", " "), str(rate), "" if share is None else f"{share:.0%}"]))
    return "\n".join(lines) + "\n"


def _draw(backbones: dict[str, Any], path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8 * len(backbones), 3.8), layout="constrained")
        for axes, (name, found) in zip(
            figure.subplots(1, len(backbones), squeeze=False)[0], backbones.items(), strict=True
        ):
            for key, colour, label in (
                ("epochs_plain", BASELINE, "plain recipe"),
                ("epochs_ours", FINETUNE, "ours, same recipe"),
                ("epochs_quick", ACCENT, "ours, recipe strong cut short"),
            ):
                seconds, errors = zip(*[(epoch["seconds"], epoch["val_mae"]) for epoch in found[key]], strict=True)
                axes.plot(seconds, errors, color=colour, marker="o", ms=3, label=label)
            axes.set(title=name, xlabel="seconds since the start (log)", ylabel="validation MAE (years)", xscale="log")
            axes.legend(fontsize=8)
        figure.savefig(path, dpi=110)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(f"{each:.2f}" for each in value)
    return "not reached" if value is None else f"{value:g}"
