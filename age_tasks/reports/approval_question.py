"""What a person reads who is asked to approve a candidate: Markdown, as Airflow's page of the question shows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from age_tasks.config import SettingChange
from age_tasks.evaluation.enough import too_few_in_words
from age_tasks.evaluation.results import BinDifference, ChampionComparison, PairedComparison, Rule
from age_tasks.pipeline import STAGES, changed_settings_of
from age_tasks.reports.gate_summary import SHEETS_OF_CHANGES, changed_faces
from age_tasks.reports.html import markdown_text
from age_tasks.runs.run import StoredRun


@dataclass(frozen=True)
class RunFacts:
    """What the store says of the run.

    Args:
        recipe: its name.
        changed: the settings that differ from the recipe's.
        seconds: by stage, of the stages that this run executed.
        reused: the stages whose results are those of earlier runs.
        faces: the sheets of the images whose predicted age changed most; see `changed_faces`.
    """

    recipe: str
    changed: tuple[SettingChange, ...]
    seconds: Mapping[str, float]
    reused: tuple[str, ...]
    faces: tuple[str, ...]


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
        faces=changed_faces(records.get("evaluate")),
    )


def question(judged: Mapping[str, Any], report: str, facts: RunFacts | None, files: str) -> str:
    """The verdict, candidate beside champion overall and by age, changed settings, every rule, data, cost, links.

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
        f"The gate: **{markdown_text(judged['verdict'])}**.",
        _models(judged["candidate"], champion, judged.get("corrected_mae")),
        _changed(changed, facts.recipe if facts else ""),
        _bins(champion),
        _rules(rules),
        " ".join(_data_and_cost(champion, facts)),
        _links(facts, report, files),
    ]
    return "\n\n".join(part for part in parts if part)


def _changed(changed: Sequence[SettingChange], recipe: str) -> str:
    if not changed:
        return ""
    listed = ", ".join(
        f"{each.name} **{markdown_text(each.shown)}** ({markdown_text(each.shown_recipe)})" for each in changed
    )
    differ = "settings differ" if len(changed) > 1 else "setting differs"
    return f"**{len(changed)} {differ} from the recipe{_of(recipe)}**, its value in brackets: {listed}."


def _models(candidate: Mapping[str, Any], champion: ChampionComparison | None, corrected: float | None) -> str:
    """The candidate's MAE, `corrected` for its selection where that differs, beside the champion's."""
    overall = f"{candidate['value']:.2f} years (95 % interval {candidate['low']:.2f} to {candidate['high']:.2f})"
    if corrected is not None:
        overall += f", {corrected:.2f} corrected for its selection"
    if champion is None:
        return f"Test MAE on {candidate['images']} images: {overall}. There is no champion yet."
    lead = "better" if champion.high < 0 else "worse" if champion.low > 0 else "not significantly different"
    return (
        f"Candidate's MAE minus champion's ({champion.name}), on the same {champion.images} test images: "
        f"**{champion.value:+z.2f} years** (95 % interval {champion.low:+z.2f} to {champion.high:+z.2f}): {lead}. "
        f"Candidate's MAE on all {candidate['images']} test images: {overall}."
    )


def _bins(champion: ChampionComparison | None) -> str:
    """Ages from left to right: such a table is low, so that the buttons below it stay on the screen."""
    if champion is None:
        return ""
    columns = [_Column("all ages", champion, champion.candidate_mae, champion.champion_mae)]
    for each in champion.bins:
        ages = f"{each.low_age:g}–{each.high_age:g}"
        columns.append(_Column(ages, each, each.candidate_mae, each.champion_mae))
    rows = [
        ["test MAE (years)", *(column.head for column in columns)],
        ["---"] * (len(columns) + 1),
        ["candidate", *(_years(column.candidate_mae) for column in columns)],
        [f"champion, {champion.name}", *(_years(column.champion_mae) for column in columns)],
        ["difference", *(column.difference for column in columns)],
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    few = too_few_in_words(champion.people is not None)
    return f"{table}\n\nBold: the 95 % interval of the difference excludes 0. *: {few}."


@dataclass(frozen=True)
class _Column:
    """The test images of some ages."""

    ages: str
    estimate: PairedComparison | BinDifference
    candidate_mae: float | None
    champion_mae: float | None

    @property
    def head(self) -> str:
        return f"{self.ages} ({self.estimate.images}{chr(92) + '*' if self.estimate.too_few else ''})"

    @property
    def difference(self) -> str:
        value = f"{self.estimate.value:+z.2f}"
        apart = self.estimate.high < 0 or self.estimate.low > 0
        return f"**{value}**" if apart and not self.estimate.too_few else value


def _years(mae: float | None) -> str:
    return "–" if mae is None else f"{mae:.2f}"


def _rules(rules: Sequence[Rule]) -> str:
    """Each rule with its value, bound and result; bold what does not pass, or has another bound than the recipe's."""
    listed = []
    for rule in rules:
        value = "" if rule.value is None else f" {rule.value:.2f}"
        text = f"{rule.name}{value} {markdown_text(rule.limit)}: {rule.result}"
        listed.append(text if rule.passed and rule.value is not None and rule.recipe_bound is None else f"**{text}**")
    return f"Rules: {'; '.join(listed)}."


def _data_and_cost(champion: ChampionComparison | None, facts: RunFacts | None) -> Iterator[str]:
    if champion:
        yield (
            f"Data: {champion.new_images} images are new since {champion.name}; drift of the ages "
            f"{champion.drift:.3f}; {champion.seen_in_training} test images were in its training."
        )
    if facts:
        spent = sum(facts.seconds.values())
        stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in facts.seconds.items() if seconds >= 1)
        reused = f"; reused: {', '.join(facts.reused)}" if facts.reused else ""
        yield f"Cost: {spent:.0f} seconds of computing{f' ({stages})' if stages else ''}{reused}."


def _links(facts: RunFacts | None, report: str, files: str) -> str:
    links = [f"[The model report]({report})"]
    if facts:
        links += [f"[{SHEETS_OF_CHANGES[name]}]({files}/evaluate/{name})" for name in facts.faces]
    return " · ".join(links)


def _of(recipe: str) -> str:
    return f" {markdown_text(recipe)}" if recipe else ""
