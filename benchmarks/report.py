"""The benchmark's results as a page of Markdown and a plot."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from age_tasks.reports.figures import ACCENT, BASELINE, FINETUNE, STYLE

PEERS = {
    "bottleneck_keras": "Keras, bottleneck features by hand",
    "plain_torch": "PyTorch, every image through the whole network",
}
PEER_COLUMNS = (
    ("seconds", "seconds"),
    ("first run / ours", "first_run_ratio"),
    ("5 % new labels / ours", "incremental_ratio"),
    ("the same, warm start", "warm_start_ratio"),
    ("time to its best validation MAE / ours", "time_to_equal_mae_ratio"),
    ("the same, 5 % new labels, warm start", "weekly_time_to_equal_mae_ratio"),
    ("test MAE (years)", "test_mae"),
    ("peak memory (GB)", "peak_memory_gb"),
)
ROWS = (
    ("first run, usual / ours", "first_run_ratio"),
    ("seconds of a first run, by seed", "seconds_by_seed"),
    ("5 % new labels, usual from scratch / ours", "incremental_ratio"),
    ("the same with a warm start of 3 epochs", "warm_start_ratio"),
    ("time to the usual implementation's best validation MAE, usual / `quick`", "time_to_equal_mae_ratio"),
    ("the same, 5 % new labels, `quick` with a warm start", "weekly_time_to_equal_mae_ratio"),
    ("seconds of a run without changes", "unchanged_seconds"),
    ("test MAE (years), usual", "mae_plain"),
    ("test MAE (years), ours", "mae_ours"),
    ("the same, by seed", "mae_by_seed"),
    ("test MAE (years), ours after 5 % new labels", "mae_incremental"),
    ("test MAE (years), ours with a warm start", "mae_warm_start"),
    ("test MAE (years), `quick` with a warm start", "mae_weekly"),
    ("peak memory (GB), usual", "peak_memory_gb_plain"),
    ("peak memory (GB), ours", "peak_memory_gb"),
)


def write_report(results: dict[str, Any], folder: Path) -> None:
    """Write `results.md` and `results.png` into `folder`.

    Args:
        results: the content of `results.json`, by backbone.
    """
    _draw(results, folder / "results.png")
    (folder / "results.md").write_text(_page(results))


def _page(results: dict[str, Any]) -> str:
    lines = [
        "# This project compared with the usual Keras implementation",
        "",
        "Recipe `reference`, both sides in turn in one run.",
        "",
    ]
    lines += ["![validation MAE against seconds](results.png)", ""]
    lines += [_row(["", *results]), _row(["---"] * (1 + len(results)))]
    lines += [_row(["images", *(str(found["images"]) for found in results.values())])]
    lines += [_row(["weights", *(found["weights"] for found in results.values())])]
    lines += [_row([label, *(_text(found.get(key)) for found in results.values())]) for label, key in ROWS]
    for name, found in results.items():
        lines += ["", f"## {name}", "", f"{found['machine']}", "", "```", found["command"], "```", ""]
        lines += [_row(["images", "usual (s)", "ours (s)", "ratio", "5 % new, ours (s)", "ratio", "peak GB"])]
        lines += [_row(["---"] * 7)]
        for count, at in found["growth"].items():
            ratios = {side: f"{at['plain'] / at[side]:.1f}" for side in ("ours", "incremental")}
            times = {side: f"{at[side]:.0f}" for side in ("plain", "ours", "incremental")}
            cells = [count, times["plain"], times["ours"], ratios["ours"], times["incremental"], ratios["incremental"]]
            lines.append(_row([*cells, f"{at['peak_memory_gb']:.2f}"]))
        lines += _peers(found.get("peers", {}))
        rates = found["rates"]
        lines += ["", f"Batches of {rates['batch']}; {_how(rates)}.", ""]
        lines += [_row(["part", "images/s", f"fraction of {rates['peak_gflops']} GFLOP/s"]), _row(["---"] * 3)]
        for part, rate in rates["images_per_second"].items():
            share = rates["share_of_peak"].get(part)
            lines.append(_row([part.replace("_", " "), str(rate), "" if share is None else f"{share:.0%}"]))
    return "\n".join(lines) + "\n"


def _peers(peers: dict[str, dict[str, Any]]) -> list[str]:
    """A table of what the other implementations took, each on the splits of the first run."""
    if not peers:
        return []
    lines = ["", _row(["", *(label for label, _ in PEER_COLUMNS)]), _row(["---"] * (1 + len(PEER_COLUMNS)))]
    for name, peer in peers.items():
        lines.append(_row([PEERS[name], *(_text(peer.get(key)) for _, key in PEER_COLUMNS)]))
    return lines


def _draw(results: dict[str, Any], path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8 * len(results), 3.8), layout="constrained")
        for axes, (name, found) in zip(
            figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True
        ):
            for key, colour, label in (
                ("epochs_plain", BASELINE, "usual implementation"),
                ("epochs_ours", FINETUNE, "ours, same recipe"),
                ("epochs_quick", ACCENT, f"ours, {found['quick']}"),
            ):
                seconds, errors = zip(*[(epoch["seconds"], epoch["val_mae"]) for epoch in found[key]], strict=True)
                axes.plot(seconds, errors, color=colour, marker="o", ms=3, label=label)
            axes.set(title=name, xlabel="seconds since the start (log)", ylabel="validation MAE (years)", xscale="log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.legend(fontsize=8)
        figure.savefig(path, dpi=110)


def _how(rates: dict[str, Any]) -> str:
    return f"XLA {'on' if rates['xla'] else 'off'}, training steps in {'bfloat16' if rates['bfloat16'] else 'float32'}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(f"{each:.4g}" for each in value)
    return "–" if value is None else f"{value:g}"  # never reached, or not measured then
