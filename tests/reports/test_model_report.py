import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from age_tasks.config import CardSettings, Config, GateSettings
from age_tasks.environment import Locations
from age_tasks.errors import MissingInputError
from age_tasks.evaluation.gate import gate_result, judge
from age_tasks.evaluation.metrics import by_age
from age_tasks.evaluation.results import Challenge, GateResult, Selection
from age_tasks.pipeline import settings_read
from age_tasks.registry.approval import Approval
from age_tasks.reports import figures, model_report
from age_tasks.reports.model_report import Outcome, model_card_from_run, report_from_run, report_so_far
from age_tasks.runs.records import Summary
from age_tasks.runs.run import Workspace, open_run, start_run
from age_tasks.runs.runner import Needs, execute_stage
from age_tasks.stopwatch import PARTS
from tests.support.metrics import CHAMPION, IN_USE, METRICS, comparison_of, metrics_of
from tests.support.page import Page, text_of

PUBLISHED = Outcome(final=True, version="v5", champion="v4")
HOSTILE = "faces/<script>x.jpg</script>/labels.csv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A run whose stages left what the report reads: 31 test faces of 20 to 30 years, 8 older ones, one of 85."""
    root = tmp_path_factory.mktemp("report")
    locations = Locations(labels=HOSTILE, images="faces/images", store=(root / "store").as_uri(), cache=root / "cache")
    config = Config()

    def stage(name: str, write: Callable[[Path], object] = lambda out: None, **summary: int | str) -> None:
        def work(run: Workspace, config: Config) -> Summary:
            write(run.output_dir)
            return summary

        with open_run("monday", locations) as run:
            if name == "snapshot":
                start_run(run, config, locations)
            execute_stage(name, Needs(), lambda: work, run, config)

    stage("snapshot", lambda out: (out / "snapshot.csv").write_text("frozen"))
    stage("validate", rows=7591, accepted=7580, quarantined=11, near_duplicates=3, ages_accepted=HOSTILE)
    counts = {"train": 5306, "val": 1137, "test": 1137, "known": 7082, "left_out": 0}
    stage("split", lambda out: _split_ages(out / "split_ages.png"), **counts)
    for name in ("baseline", "finetune"):
        stage(name, lambda out, name=name: _curve(out / "learning_curve.png", name))
    stage("evaluate", _evaluate)
    stage("gate")
    with open_run("monday", locations) as run:
        yield run


@pytest.fixture(scope="module")
def evaluation(run: Workspace) -> Path:
    for name in run.require_record("evaluate").outputs:
        run.input("evaluate", name)
    return run.input("evaluate", "metrics.json").parent


@pytest.fixture(scope="module")
def published(run: Workspace, evaluation: Path) -> Page:
    return Page(report_from_run(run, evaluation, _gate(9.0), PUBLISHED))


@pytest.fixture(scope="module")
def card(run: Workspace, evaluation: Path) -> str:
    return model_card_from_run(run, evaluation, _gate(9.0))


def test_the_card_says_what_publish_was_given_and_what_the_trainings_have_read(
    run: Workspace, evaluation: Path, monkeypatch: pytest.MonkeyPatch
):
    owned = model_card_from_run(run, evaluation, _gate(9.0), card=CardSettings(owner="bea"))
    assert "Owner: bea." in owned
    stored = run.require_record("finetune")
    read = stored.model_copy(update={"settings": {"finetune": {"epochs": 77}}})
    monkeypatch.setattr(Workspace, "record", lambda run, stage: read if stage == "finetune" else None)
    assert settings_read(run)["finetune"] == {"epochs": 77}
    assert settings_read(run)["baseline"] == run.settings().config["baseline"]


def test_the_verdict_comes_first(published: Page):
    assert published.verdict.startswith("Published as v5. ")
    assert published.texts("h1") == ["Age model report: v5"]
    assert "7.07 years" in published.verdict
    before = published.text.partition(published.verdict)[0]
    assert "MAE" not in before
    assert "monday" in before


def test_a_refusal_names_each_broken_rule_with_its_number_and_bound(run: Workspace, evaluation: Path):
    page = Page(report_from_run(run, evaluation, _gate(6.5), Outcome(True, champion="v4")))
    assert page.verdict.startswith("Not published. ")
    assert "7.07" in page.verdict
    assert "6.50" in page.verdict
    assert page.verdict.endswith("v4 stays the champion.")
    assert "9.05" not in page.verdict  # better than the baseline: that rule holds
    assert page.row("test MAE")[3] == "fail"
    assert page.row("better than the baseline")[3] == "pass"


def test_the_report_names_who_stays_and_what_differs_from_the_recipe(run: Workspace, evaluation: Path):
    refused = Approval(False, "ann", "worse on children", "2026-11-24T10:15:00+00:00")
    page = Page(report_from_run(run, evaluation, _gate(9.0), Outcome(True, None, "v4", refused)))
    assert page.verdict.startswith("Not published. Refused by ann at 2026-11-24 10:15 UTC: worse on children. v4 stays")
    waiting = Page(report_from_run(run, evaluation, _gate(9.0), Outcome(champion="v4")))
    assert waiting.verdict.startswith("Not decided yet. The gate passed: all 3 rules hold.")
    assert waiting.verdict.endswith("Until then v4 stays the champion.")
    first = Page(report_from_run(run, evaluation, _gate(6.5), Outcome()))
    assert first.verdict.startswith("Refused by the gate.")
    assert first.verdict.endswith("There is no champion yet.")


def test_the_report_links_to_the_files_beside_it(run: Workspace, evaluation: Path):
    links = {link.text: link["href"] for link in Page(report_from_run(run, evaluation, None)).soup.find_all("a")}
    assert links == {"metrics": "../../monday/evaluate/metrics.json"}
    page = Page(report_from_run(run, evaluation, _gate(9.0), PUBLISHED, "../runs/"))
    assert {link.text: link["href"] for link in page.soup.find_all("a")} == {
        "metrics": "../runs/monday/evaluate/metrics.json",
        "model card": "../runs/monday/publish/model_card.md",
    }


def test_the_report_of_a_run_that_goes_on_is_its_own(run: Workspace):
    page = Page(report_so_far(run, "../"))
    assert page.verdict.startswith("Not decided: the gate has not run yet.")
    assert "Run monday" in page.text
    assert page.headings


def test_before_the_gate_the_verdict_is_not_decided(run: Workspace, evaluation: Path):
    page = Page(report_from_run(run, evaluation, gate=None))
    assert page.verdict.startswith("Not decided")
    assert "Published" not in page.text
    assert "The gate" not in page.headings


def test_the_candidate_is_compared_with_the_champion(run: Workspace, evaluation: Path, tmp_path: Path):
    folder = _with_metrics(evaluation, tmp_path, champion=CHAMPION)
    _against_champion(folder, CHAMPION)
    page = Page(report_from_run(run, folder, _gate(9.0, champion=CHAMPION), PUBLISHED))
    assert page.cards[1].startswith("7.41 years")
    assert "v4" in page.cards[1]
    assert "Comparison with the champion, v4" in page.headings
    assert "0.35 years lower than the champion's: 7.07 against 7.41" in page.text
    assert "-0.61 to -0.09, permutation p-value 0.0081" in page.text
    assert "significantly better" in page.text
    assert page.row("better than the champion")[3] == "pass"


def test_the_report_says_which_challenge_this_was_and_corrects_for_selection(
    run: Workspace, evaluation: Path, tmp_path: Path
):
    folder = _with_metrics(evaluation, tmp_path, champion=CHAMPION | {"optimism": 0.12})
    _against_champion(folder, CHAMPION)
    gate = _gate(9.0, champion=CHAMPION).model_copy(
        update={
            "challenge": Challenge(number=7, level=0.99821, upper=-0.034),
            "selection": Selection(optimism=0.083, images=40),
        }
    )
    page = Page(report_from_run(run, folder, gate, PUBLISHED))
    needed = "challenge 7 of this champion: the upper end of the 99.82 % interval must be below 0"
    assert f"This was {needed}. It is -0.03 years." in page.text
    assert "at most 5.0 % of cases in its whole time in office" in page.text
    assert page.cards[1].endswith("on the same images; 7.53 corrected for its selection")
    assert "v4's test MAE, corrected for its selection: 7.53 years, measured 7.41." in page.text
    assert "The candidate's test MAE, corrected for its selection: 7.15 years, measured 7.07." in page.text
    card = model_card_from_run(run, folder, gate)
    assert "| fine-tuned, corrected for its selection | 7.15 |" in card


def test_a_report_from_files_of_version_0_1_says_nothing_of_challenges(
    run: Workspace, evaluation: Path, tmp_path: Path
):
    folder = _with_metrics(evaluation, tmp_path, champion=CHAMPION)
    _against_champion(folder, CHAMPION)
    page = Page(report_from_run(run, folder, _gate(9.0), PUBLISHED))
    assert "This was challenge" not in page.text
    assert "corrected for its selection" not in page.text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "6.40): worse beyond chance (difference +1.90 years, 95 % interval +0.82 to +3.07)."),
        ({"worse": False}, ": not worse beyond chance"),
        ({"worse": False, "few": True}, "too few to judge by. From 30 images on, a difference is judged."),
        ({"people": 12}, "intervals resample their 12 people"),
        (
            {"worse": False, "few": True, "people": 2},
            "so few people are too few to judge by. From 30 images of 10 people on, a difference is judged.",
        ),
    ],
)
def test_the_error_in_use_stands_beside_the_test_mae(
    changed: dict, said: str, run: Workspace, evaluation: Path, tmp_path: Path
):
    folder = _with_metrics(evaluation, tmp_path, champion=CHAMPION, in_use=IN_USE | changed)
    _against_champion(folder, CHAMPION)
    page = Page(report_from_run(run, folder, gate=None))
    assert "on the 57 images that are new since v3 was trained, its MAE is 7.90 years" in page.text
    assert said in page.text


def test_nothing_is_known_of_the_error_in_use_without_new_images(run: Workspace, evaluation: Path, tmp_path: Path):
    none = CHAMPION | {"new_images": 0}
    folder = _with_metrics(evaluation, tmp_path, champion=none)
    _against_champion(folder, none)
    assert "nothing is known of its error in use" in Page(report_from_run(run, folder, gate=None)).text


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("seed 43", "whose validation MAE is the lowest."),
        ("average of 3 seeds", "Kept: average of 3 seeds"),
    ],
)
def test_several_seeds_are_reported_with_mean_and_spread(kept: str, said: str, run: Workspace, evaluation: Path):
    record = run.record("finetune")
    of_seeds = {"seeds": 3, "kept": kept, "val_mae": 5.61, "val_mae_mean": 5.7, "val_mae_sd": 0.08}
    of_seeds |= {"test_mae": 5.79, "test_mae_mean": 5.83, "test_mae_sd": 0.05}
    run.store.put("runs/monday/finetune/stage.json", record.model_copy(update={"summary": of_seeds}).to_bytes())
    try:
        page = Page(report_from_run(run, evaluation, gate=None))
    finally:
        run.store.put("runs/monday/finetune/stage.json", record.to_bytes())
    assert said in page.text
    assert "validation MAE is 5.70 ± 0.08 years and the test MAE 5.83 ± 0.05" in page.text


def test_minors_and_adults_mistaken_for_each_other(published: Page):
    assert "Of 9 test images of people under 18, 22.2 % are predicted to be adults." in published.text
    assert "Of 31 test images of adults, 3.2 % are predicted to be minors." in published.text


def test_the_interval_and_its_coverage(published: Page):
    assert published.row("up to 30")[1:] == ["± 8.1 years", "700", "31", "93.0 %"]
    assert published.row("over 30")[1] == "± 17.9 years"
    assert "On the test images the coverage is 91.0 %" in published.text


def test_test_images_that_the_champion_was_trained_on_are_reported(run: Workspace, evaluation: Path, tmp_path: Path):
    seen = CHAMPION | {"seen_in_training": 9, "images": 31, "low": -0.5, "high": 0.2}
    folder = _with_metrics(evaluation, tmp_path, champion=seen)
    _against_champion(folder, seen)
    page = Page(report_from_run(run, folder, gate=None))
    assert "9 of the test images were in the champion's training data" in page.text
    assert "excluded from this comparison" in page.text
    assert "difference is not significant" in page.text


def test_the_cards_show_the_main_numbers(published: Page):
    tuned, baseline, median, within = published.cards
    assert tuned.startswith("7.07 years")
    assert "95 % interval 6.71 to 7.42" in tuned
    assert baseline.startswith("9.05 years")
    assert median.startswith("13.31 years")
    assert "28" in median
    assert within.startswith("48.8 %")


def test_every_rule_has_value_bound_result_and_reason(published: Page):
    assert published.row("test MAE") == [
        "test MAE",
        "7.07",
        "<= 9.00 years",
        "pass",
        "The error must be small enough for the model to be useful.",
    ]
    assert published.row("better than the baseline")[1:4] == ["7.07", "< 9.05 years", "pass"]


@pytest.mark.parametrize(
    ("difference", "expected", "unexpected"),
    [
        ({"value": -1.98, "low": -2.31, "high": -1.66}, "1.98 years better", "significant"),
        ({"value": 0.8, "low": 0.3, "high": 1.3}, "0.80 years worse", "significant"),
        ({"value": -0.2, "low": -0.7, "high": 0.4}, "not significant", "worse"),
    ],
    ids=["better", "worse", "not significant"],
)
def test_the_difference_to_the_baseline_in_words(
    difference: dict, expected: str, unexpected: str, run: Workspace, evaluation: Path, tmp_path: Path
):
    page = Page(report_from_run(run, _with_metrics(evaluation, tmp_path, difference=difference), gate=None))
    (sentence,) = (line for line in page.paragraphs if "test images, " in line and "baseline" in line)
    assert expected in sentence
    assert unexpected not in sentence
    assert "95 %" in sentence
    assert "40 test images" in sentence


def test_errors_by_age_with_small_bins_flagged(published: Page):
    young, old = published.row("20–30"), published.row("over 70")
    assert young[1:5] == ["31", "9.00", "6.00", "+6.00"]
    assert old[1:5] == ["1", "9.00", "6.00", "-6.00"]
    assert "few" not in " ".join(young)
    assert "few images" in old[-1]
    assert published.row("0–10") is None  # no image of that age


def test_all_metrics_of_both_models_with_intervals(published: Page):
    assert published.row("fine-tuned") == [
        "fine-tuned",
        "7.07 6.71 to 7.42",
        "9.58 9.00 to 10.10",
        "0.52 -0.03 to 1.07",
        "48.8 % 45.9 % to 51.7 %",
    ]
    assert published.row("baseline")[1] == "9.05 8.61 to 9.49"


def test_data_stages_and_settings_are_listed(published: Page):
    assert published.row(HOSTILE)[1:] == ["7591", "11", "5306", "1137", "1137"]
    for stage in ("snapshot", "validate", "split", "baseline", "finetune", "evaluate", "gate"):
        made_by, seconds, memory = published.row(stage, cells=4)[1:]
        assert made_by == "this run"
        assert float(seconds) >= 0
        assert float(memory) > 0
        assert [float(seconds) >= 0 for seconds in parts_shown(published)[stage]] == [True] * len(PARTS)
    assert published.row("snapshot", cells=2)[1] == hashlib.sha256(b"frozen").hexdigest()
    assert "3 pairs of near duplicates" in published.text
    assert "7082 images kept the split of an earlier run" in published.text
    assert "resnet50, recipe reference" in published.text
    assert "last_layers: 30" in published.text
    assert re.search(r"python: '?3\.11", published.text)


def test_the_metrics_are_explained(published: Page):
    for word in ("MAE:", "RMSE:", "Bias:", "Intervals:"):
        assert word in published.text


def test_the_report_is_self_contained(published: Page, run: Workspace, evaluation: Path):
    assert published.addresses
    assert all(address.startswith(("data:image/png;base64,", "../../")) for address in published.addresses)
    assert not {"script", "link", "iframe", "object"} & published.tags
    assert not re.findall(r"https?://|@import|url\(", published.html)
    assert len(published.html) < 3_000_000
    assert len(published.alternatives) == len(published.soup.find_all("img"))
    assert all(len(text) > 15 for text in published.alternatives)


def test_the_plots_of_the_run_are_embedded(published: Page, run: Workspace, evaluation: Path):
    names = ("predicted_against_real", "error_by_age", "worst_errors", "interval_held", "error_histogram")
    drawn = [evaluation / f"{name}.png" for name in names]
    drawn += [run.input(stage, "learning_curve.png") for stage in ("baseline", "finetune")]
    drawn.append(run.input("split", "split_ages.png"))
    shown = [base64.b64decode(address.partition(",")[2]) for address in published.addresses if "base64" in address]
    assert shown == [path.read_bytes() for path in drawn]
    for content in shown:
        Image.open(io.BytesIO(content)).verify()


def test_text_from_outside_is_escaped(published: Page, run: Workspace, evaluation: Path):
    assert "<script" not in published.html
    assert HOSTILE in published.text  # as the reader sees it
    rule = _gate(9.0).rules[0].model_copy(update={"sentence": "<b>MAE</b>", "why": "<img src=x>", "passed": False})
    page = Page(report_from_run(run, evaluation, gate_result([rule]), Outcome(True)))
    assert "<b>mae</b>" in page.verdict.lower()
    assert page.addresses == published.addresses


def test_a_report_needs_the_stages_before_it(evaluation: Path, tmp_path: Path):
    locations = Locations(
        labels="labels.csv", images="images", store=(tmp_path / "store").as_uri(), cache=tmp_path / "cache"
    )
    with open_run("tuesday", locations) as run:
        with pytest.raises(MissingInputError, match="run tuesday"):
            report_from_run(run, evaluation, gate=None)
        start_run(run, Config(), locations)
        with pytest.raises(MissingInputError, match="baseline has not run"):
            report_from_run(run, evaluation, gate=None)


def test_labels_to_look_at_are_shown_if_there_are_any(
    run: Workspace, evaluation: Path, tmp_path: Path, published: Page
):
    assert "Labels to look at" not in published.headings  # the features had no room in the cache
    folder = _with_metrics(evaluation, tmp_path)
    face = np.full((112, 112, 3), 128, np.uint8)
    figures.save(figures.face_sheet([(face, "5, or 45?")], title="Labels"), folder / "labels_to_look_at.png")
    assert "Labels to look at" in Page(report_from_run(run, folder, gate=None)).headings


SLICE = {"images": 40, "mae": {"value": 6.1, "low": 5, "high": 7}, "bias": {"value": -1.2, "low": -2, "high": 0.1}}
DARK = SLICE | {"column": "image brightness", "value": "0.1 to 0.3"}
WEAK = {
    "segment": "age 60 and more, image brightness up to 0.31",
    "images": 34,
    "mae": 11.2,
    "mae_elsewhere": 6.4,
    "difference": {"value": 4.8, "low": 2.1, "high": 7.5},
}


def test_slices_by_image_quality_have_a_figure_tables_and_their_place_in_the_card(
    run: Workspace, evaluation: Path, tmp_path: Path, published: Page, card: str
):
    assert "Errors by image quality" not in published.headings
    assert "by age, the only attribute that was measured" in card
    folder = _with_metrics(evaluation, tmp_path, image_slices=[DARK])
    (folder / "error_by_image.png").write_bytes((folder / "error_by_age.png").read_bytes())
    page = Page(report_from_run(run, folder, gate=None))
    assert "Errors by image quality" in page.headings
    assert "Errors by slice" not in page.headings
    assert page.row("0.1 to 0.3", cells=6)[1:] == ["40", "6.10", "5.00 to 7.00", "-1.20", "-2.00 to +0.10"]
    card = model_card_from_run(run, folder, _gate(9.0))
    assert "Results are reported by age and by image brightness. How they vary by sex" in card
    assert "| 0.1 to 0.3 | 40 | 6.10 | 5.00–7.00 | -1.20 |" in card


def test_parts_of_few_people_are_marked(run: Workspace, evaluation: Path, tmp_path: Path):
    bins = [bin_ | {"people": 3} for bin_ in CHAMPION["bins"]]
    champion = CHAMPION | {"bins": bins, "people": 11}
    folder = _with_metrics(evaluation, tmp_path, people=11, slices=[DARK | {"people": 3}], champion=champion)
    _against_champion(folder, champion)
    page = Page(report_from_run(run, folder, gate=None))
    assert page.row("0.1 to 0.3 few people", cells=6)
    assert "Slices with fewer than 30 images or 10 people are too uncertain to judge by." in page.text
    assert page.row("20–30", cells=7)[-1] == "few people"
    assert page.row("40–50", cells=7)[-1] == "few images"


def test_weak_segments_are_listed_with_their_faces(
    run: Workspace, evaluation: Path, tmp_path: Path, published: Page, card: str
):
    assert "Weak segments" not in published.headings  # they were not searched for
    assert "Larger errors" not in card
    folder = _with_metrics(evaluation, tmp_path, weak_segments=[WEAK])
    (folder / "weak_segments.png").write_bytes((folder / "worst_errors.png").read_bytes())
    page = Page(report_from_run(run, folder, gate=None))
    assert page.row(WEAK["segment"], cells=6)[1:] == ["34", "11.20", "6.40", "+4.80", "+2.10 to +7.50"]
    assert page.soup.find("img", alt=re.compile("Images of each weak segment"))
    card = model_card_from_run(run, folder, _gate(9.0))
    assert "- Larger errors: age 60 and more, image brightness up to 0.31: MAE 11.20 years, elsewhere 6.40" in card


def test_no_weak_segment_is_a_result(run: Workspace, evaluation: Path, tmp_path: Path):
    page = Page(report_from_run(run, _with_metrics(evaluation, tmp_path, weak_segments=[]), gate=None))
    assert "None was found: no test images that share an age, a slice or a quality" in page.text


def test_the_page_uses_the_limits_of_the_code(
    run: Workspace, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(model_report, "FEW_IMAGES", 32)
    monkeypatch.setattr(model_report, "LABELS_TO_LOOK_AT", 77)
    folder = _with_metrics(evaluation, tmp_path)
    (folder / "labels_to_look_at.png").write_bytes((folder / "worst_errors.png").read_bytes())
    page = Page(report_from_run(run, folder, gate=None))
    assert "few images" in page.row("20–30")[-1]  # 31 images
    assert "list the first 77" in page.text


def test_the_card_describes_input_and_output(card: str):
    assert card.startswith("# Age model monday\n")
    assert "A person accepted that; the report says who and why." in card
    assert "(batch, 224, 224, 3)" in card
    assert "RGB, values 0–255" in card
    assert "`(batch, 1)`, years" in card
    assert "Crop the face like the training images" in card


def test_the_card_has_the_metrics(card: str):
    assert "| fine-tuned (this model) | 7.07 | 6.71–7.42 | 48.8 % |" in card
    assert "| baseline | 9.05 | 8.61–9.49 | 36.1 % |" in card
    assert "| predicting the median | 13.31 |" in card
    assert "| 20–30 | 31 | 6.00 | +6.00 |" in card
    assert "| over 70 | 1 | 6.00 | -6.00 |" in card
    assert "| 0–10 |" not in card
    assert "5306 images (1137 for validation, 1137 for testing)" in card


def test_the_card_states_limits_of_use(card: str):
    assert "base no decision about a person on it" in card
    assert "few test images" in card
    assert "Out of scope: No decision about a person, no proof of age, no identification." in card


def test_the_card_has_the_sections_of_model_cards(card: str):
    """Those of Mitchell et al., Model Cards for Model Reporting (2019)."""
    assert re.findall("^## (.*)$", card, re.MULTILINE) == [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"file": "model.tflite", "largest_difference": 0.00012, "problem": ""}, "by at most 0.0001 years"),
        ({"file": None, "largest_difference": 0.2, "problem": "its ages differ"}, "its ages differ"),
    ],
    ids=["the same ages", "refused"],
)
def test_the_litert_export_or_its_problem_is_reported(found: dict, expected: str, run: Workspace, evaluation: Path):
    gate, export = _gate(9.0), found | {"bound": 0.05, "images": 64}
    page = Page(report_from_run(run, evaluation, gate, Outcome(True, "v5", export=export)))
    card = model_card_from_run(run, evaluation, gate, export)
    assert page.verdict.startswith("Published as v5. ")
    assert expected in page.text
    assert (found["problem"] or "at most 0.0001 years") in card


def test_a_reused_stage_names_the_run_that_executed_it_and_its_seconds(run: Workspace, evaluation: Path):
    record = run.record("baseline")
    first, again = {"run": "sunday", "seconds": 321.0}, {"reused_from": "sunday", "seconds": 0.0}
    run.store.put("runs/sunday/baseline/stage.json", record.model_copy(update=first).to_bytes())
    run.store.put("runs/monday/baseline/stage.json", record.model_copy(update=again).to_bytes())
    for name in record.outputs:
        run.store.put(f"runs/sunday/baseline/{name}", run.input("baseline", name))
    try:
        page = Page(report_from_run(run, evaluation, gate=None))
    finally:
        run.store.put("runs/monday/baseline/stage.json", record.to_bytes())
    assert page.row("baseline", cells=4)[1:] == ["run sunday, 321.0 s there", "0.0", ""]
    assert "the 1 stage reused from earlier runs took 321 seconds there" in page.text


def parts_shown(page: Page) -> dict[str, list[str]]:
    """The seconds of each part, by stage, as the report shows them."""
    table = page.soup.find("caption", string="Seconds of each part of a stage").find_parent("table")
    rows = [[text_of(cell) for cell in row.find_all("td")] for row in table.find_all("tr")]
    return {stage: seconds for stage, *seconds in filter(None, rows)}


def test_only_stages_whose_parts_were_timed_are_split(run: Workspace, evaluation: Path):
    """Those of version 0.1, and reused ones, were not."""
    record = run.record("baseline")
    run.store.put("runs/monday/baseline/stage.json", record.model_copy(update={"parts": {}}).to_bytes())
    try:
        page = Page(report_from_run(run, evaluation, gate=None))
    finally:
        run.store.put("runs/monday/baseline/stage.json", record.to_bytes())
    assert "baseline" not in parts_shown(page)
    assert "finetune" in parts_shown(page)


def test_the_card_is_plain_markdown_with_settings_and_versions(card: str):
    assert "&lt;" not in card
    assert "test MAE: 7.07 is <= 9.00 years: pass" in card
    assert "last_layers: 30" in card
    assert re.search(r"python 3\.11", card)


def test_the_tables_of_the_card_are_valid_markdown(card: str):
    """A blank or ragged line in a Markdown table ends it."""
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert [len(table.splitlines()) for table in tables] == [5, 5]
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def _curve(path: Path, title: str) -> None:
    history = pd.DataFrame({"epoch": [1, 2], "mae": [9.0, 8.0], "val_mae": [9.5, 8.5], "learning_rate": [1e-3, 1e-3]})
    figures.save(figures.learning_curve(history, title=title), path)


def _split_ages(path: Path) -> None:
    ages = pd.DataFrame({"real_age": [20.0, 30.0, 40.0]})
    figures.save(figures.split_ages(ages, ages, ages), path)


def _evaluate(out: Path) -> None:
    """Predictions 9 and 6 years too old up to 30 years of age, too young above."""
    real = np.array([25.0] * 31 + [45.0] * 8 + [85.0])
    sign = np.where(real < 30, 1, -1)
    predictions = pd.DataFrame({"real_age": real, "baseline": real + 9 * sign, "finetune": real + 6 * sign})
    ages = by_age(predictions, Config().evaluate.bin_edges, ("baseline", "finetune"))
    ages.to_csv(out / "by_age.csv", index=False)
    (out / "metrics.json").write_text(json.dumps(METRICS))
    figures.save(figures.predicted_against_real(predictions, "finetune"), out / "predicted_against_real.png")
    figures.save(figures.error_by_age(ages), out / "error_by_age.png")
    figures.save(figures.error_histogram(predictions), out / "error_histogram.png")
    held = figures.interval_held(predictions, "finetune", metrics_of().interval.groups)
    figures.save(held, out / "interval_held.png")
    face = np.full((112, 112, 3), 128, np.uint8)
    figures.save(figures.face_sheet([(face, "85 → 79")], title="Largest errors"), out / "worst_errors.png")


def _with_metrics(evaluation: Path, folder: Path, **changed: object) -> Path:
    """The same evaluation with other numbers in `metrics.json`."""
    for path in evaluation.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "metrics.json").write_text(json.dumps(METRICS | changed))
    return folder


def _against_champion(folder: Path, comparison: dict) -> None:
    figures.save(figures.difference_by_age(comparison_of(**comparison)), folder / "against_champion.png")
    before, now = pd.Series([20.0, 30.0]), pd.Series([20.0, 40.0])
    drift = figures.age_drift(before, now, comparison["drift"], champion=comparison["name"])
    figures.save(drift, folder / "age_drift.png")


def _gate(max_test_mae: float, **changed: object) -> GateResult:
    return gate_result(judge(metrics_of(**changed), GateSettings(max_test_mae=max_test_mae)))
