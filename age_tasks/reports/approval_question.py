"""What a person reads who is asked to approve a candidate: Markdown, as Airflow's page of the question shows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from age_tasks.config import SettingChange
from age_tasks.evaluation.gate import FEW_IMAGES
from age_tasks.evaluation.results import ChampionComparison, Rule
from age_tasks.pipeline import STAGES, changed_settings_of
from age_tasks.runs.run import StoredRun


@dataclass(frozen=True)
class RunFacts:
    """What the store says of the run.

    Args:
        recipe: its name.
        changed: the settings that differ from the recipe's.
        seconds: by stage, of the stages that this run executed.
        reused: the stages whose results are those of earlier runs.
        faces: whether there is a sheet of the images whose predicted age changed most.
    """

    recipe: str
    changed: tuple[SettingChange, ...]
    seconds: Mapping[str, float]
    reused: tuple[str, ...]
    faces: bool


def facts_of(run: StoredRun) -> RunFacts:
    """Read them from the store.

    Raises:
        AgeTasksError: the store can't be read, or the run is damaged.
    """
    records = {stage: record for stage in STAGES if (record := run.record(stage))}
    return RunFacts(
        recipe=str(run.settings().config.get("recipe", "")),
        changed=changed_settings_of(run),
        seconds={stage: record.seconds for stage, record in records.items() if not record.reused_from},
        reused=tuple(stage for stage, record in records.items() if record.reused_from),
        faces="evaluate" in records and "changed_faces.png" in records["evaluate"].outputs,
    )


def question(judged: Mapping[str, Any], report: str, facts: RunFacts | None, files: str) -> str:
    """The verdict, changed settings, candidate beside champion overall and by age, every rule, data, cost and faces.

    Args:
        judged: the gate's summary.
        report: the address of the run's report page.
        facts: what the store says of the run; None where it can't be read.
        files: the address of the run's files, without the last `/`.
    """
    champion = ChampionComparison.model_validate(judged["champion"]) if judged["champion"] else None
    rules = [Rule.model_validate(rule) for rule in judged["rules"]]
    changed = facts.changed if facts else tuple(SettingChange.model_validate(each) for each in judged["changed"])
    parts = [
        [f"The gate: **{_text(judged['verdict'])}**."],
        _changed(changed, facts.recipe if facts else ""),
        _models(judged["candidate"], champion),
        _bins(champion),
        _rules(rules),
        list(_data_and_cost(champion, facts)),
        _faces(champion, facts, files),
        [f"[The model report]({report})"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _changed(changed: Sequence[SettingChange], recipe: str) -> list[str]:
    if not changed:
        return []
    rows = [f"| {change.name} | **{_text(change.shown)}** | {_text(change.shown_recipe)} |" for change in changed]
    return [
        f"**{len(changed)} setting{'s differ' if len(changed) > 1 else ' differs'} from the recipe{_of(recipe)}:**",
        "",
        "| setting | this run | recipe |",
        "|---|---|---|",
        *rows,
    ]


def _models(candidate: Mapping[str, Any], champion: ChampionComparison | None) -> list[str]:
    overall = f"{candidate['value']:.2f} years (95 % interval {candidate['low']:.2f} to {candidate['high']:.2f})"
    if champion is None:
        return [f"Test MAE on {candidate['images']} images: {overall}. There is no champion yet."]
    lead = "better" if champion.high < 0 else "worse" if champion.low > 0 else "not significantly different"
    return [
        f"Candidate's MAE minus champion's ({champion.name}), on the same {champion.images} test images: "
        f"**{champion.value:+z.2f} years** (95 % interval {champion.low:+z.2f} to {champion.high:+z.2f}): {lead}. "
        f"Candidate's MAE on all {candidate['images']} test images: {overall}.",
    ]


def _bins(champion: ChampionComparison | None) -> list[str]:
    if champion is None:
        return []
    head = f"| test MAE (years) | images | candidate | champion, {champion.name} | difference | 95 % interval |"
    overall = (champion.candidate_mae, champion.champion_mae)
    rows = [_bin("all ages", champion.images, overall, champion.value, champion.low, champion.high)]
    for each in champion.bins:
        few = ", few images" if each.images < FEW_IMAGES else ""
        maes = (each.candidate_mae, each.champion_mae)
        label = f"{each.low_age:g}–{each.high_age:g} years{few}"
        rows.append(_bin(label, each.images, maes, each.value, each.low, each.high))
    return [head, "|---|---|---|---|---|---|", *rows]


def _bin(
    label: str, images: int, maes: tuple[float | None, float | None], value: float, low: float, high: float
) -> str:
    candidate, champion = ("–" if mae is None else f"{mae:.2f}" for mae in maes)
    return f"| {label} | {images} | {candidate} | {champion} | {value:+z.2f} | {low:+z.2f} to {high:+z.2f} |"


def _rules(rules: Sequence[Rule]) -> list[str]:
    rows = [
        f"| {rule.name} | {'–' if rule.value is None else f'{rule.value:.2f}'} | {rule.limit} | {rule.result} |"
        for rule in rules
    ]
    return ["| rule | value | bound | result |", "|---|---|---|---|", *rows]


def _data_and_cost(champion: ChampionComparison | None, facts: RunFacts | None) -> Iterator[str]:
    if champion:
        yield (
            f"- Data: {champion.new_images} images are new since {champion.name}; drift of the ages "
            f"{champion.drift:.3f}; {champion.seen_in_training} test images were in its training."
        )
    if facts:
        spent = sum(facts.seconds.values())
        stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in facts.seconds.items() if seconds >= 1)
        reused = f"; reused: {', '.join(facts.reused)}" if facts.reused else ""
        yield f"- Cost: {spent:.0f} seconds of computing{f' ({stages})' if stages else ''}{reused}."


def _faces(champion: ChampionComparison | None, facts: RunFacts | None, files: str) -> list[str]:
    if not (champion and facts and facts.faces):
        return []
    return [f"![Test images whose error changed most]({files}/evaluate/changed_faces.png)"]


def _of(recipe: str) -> str:
    return f" {_text(recipe)}" if recipe else ""


def _text(text: str) -> str:
    """A text that others wrote, without what Markdown would take for a sign of its own."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*[]<>|!#" else letter for letter in line)
