from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from age_tasks.config import Config, ValidateSettings
from age_tasks.data.audit import audit
from age_tasks.data.expectations import Finding
from age_tasks.data.image_folder import ImageFolder
from age_tasks.data.label_changes import LabelChanges
from age_tasks.data.validation import AgeShift, NearPairs, Verdict
from age_tasks.environment import Locations
from age_tasks.registry.labels_acceptance import LabelsAcceptance
from age_tasks.reports import figures
from age_tasks.reports.validation_page import ORDERS, quarantine_page, validation_page, verdict_in_words
from age_tasks.runs.run import Workspace, open_run, start_run
from tests.support.page import Page

TABLE = pd.DataFrame(
    {
        "line": [2, 3, 4, 5],
        "file_name": ["a.jpg", "b.jpg", "c.jpg", "gone.jpg"],
        "real_age": [30.0, 31.0, 200.0, 30.0],
        "sha256": ["a", "b", "c", ""],
        "problem": ["", "", "", "no such file"],
    }
)
QUARANTINE = pd.DataFrame(
    {
        "line": [4, 5],
        "file_name": ["c.jpg", "gone.jpg"],
        "age_text": ["200", "30"],
        "fault": ["age out of range", "image missing"],
        "reason": ["real_age 200 is not between 0 and 120 years", "no such file"],
    }
)
NEAR = NearPairs(
    count=1,
    nearest=pd.DataFrame(
        {
            "first_file_name": ["a.jpg"],
            "first_real_age": [30.0],
            "second_file_name": ["b.jpg"],
            "second_real_age": [31.0],
        }
    ),
    group=pd.Series(dtype="int64"),
)


def finding(description: str, **changed: object) -> Finding:
    facts = {"severity": "critical", "success": True, "column": "real_age", "arguments": {}, "observed": ""}
    return Finding(description=description, **facts | {"failing_rows": (), "meta": {}} | changed)


FINDINGS = [
    finding(
        "Ages are between 0 and 120 years.",
        success=False,
        arguments={"min_value": 0, "max_value": 120},
        failing_rows=(2,),
        meta={"fault": "age out of range"},
    ),
    finding("At least 100 rows are left.", column="rows", arguments={"min_value": 100}),
    finding("The ages have not drifted.", column="drift", arguments={"max_value": 0.15, "min_value": 0}),
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Workspace]:
    locations = Locations(
        labels="labels.csv", images=str(tmp_path), store=(tmp_path / "store").as_uri(), cache=tmp_path / "cache"
    )
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (80, 80), "teal").save(tmp_path / name)
    with open_run("monday", locations) as run:
        start_run(run, Config(), locations)
        sheet = figures.face_sheet([(np.zeros((112, 112, 3), np.uint8), "30")], title="Faces")
        figures.save(sheet, run.output_dir / "audit" / "faces.png")
        yield run


SHIFT = AgeShift(distance=0.5, rows=400, previous_rows=600, previous_run="monday<b>")


def page_of(
    run: Workspace,
    images: Path,
    verdict: Verdict,
    table: pd.DataFrame = TABLE,
    quarantine: pd.DataFrame = QUARANTINE,
    **changes: object,
) -> Page:
    accepted = table[~table["line"].isin(quarantine["line"])]
    facts = {"rows": 2.0, "drift": None}
    settings = ValidateSettings(max_quarantine_fraction=0.6)
    found = (table, quarantine, FINDINGS, facts, audit(accepted), NEAR, settings)
    folder = ImageFolder(str(images), run.cache)
    return Page(validation_page(run, verdict, *found, folder, **changes))


def test_accepted_labels_have_their_counts_in_the_verdict(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    assert page.verdict == (
        "Accepted. 2 of 4 rows are used for training; 2 are quarantined, each with its reason below."
    )
    assert [card.split(" ")[0] for card in page.cards] == ["4", "2", "2", "30.5"]
    assert "50.0 % (limit 60.0 %)" in page.cards[2]


def test_great_expectations_is_told_the_same_verdict():
    assert verdict_in_words(Verdict(True, ()), 4, 2) == (
        "The labels were accepted: 2 of 4 rows are used for training, 2 are quarantined."
    )
    assert verdict_in_words(Verdict(False, ("too few rows", "x")), 4, 2) == "The labels were refused: too few rows; x."


def test_a_refusal_names_every_problem(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(False, ("2 of 4 rows are quarantined", "too few rows")))
    assert page.verdict == "Refused: the run stops here. 2 of 4 rows are quarantined. too few rows."


def test_a_changed_age_distribution_is_shown_with_its_numbers_and_who_accepted_it(run: Workspace, tmp_path: Path):
    facts = {"labels_sha256": "0" * 64, "run": "tuesday", "previous_run": "monday<b>", "distance": 0.5}
    hostile = "<script>alert(1)</script>\"' onload=x"
    who = LabelsAcceptance(**facts, at="2026-11-24T10:15:00.000+00:00", who=hostile, why=f"adults only {hostile}")
    page = page_of(run, tmp_path, Verdict(True, (), True), shift=SHIFT, acceptance=who)
    assert page.verdict.startswith(f"Accepted by {hostile}, although the ages are distributed differently than before.")
    assert page.row("0.500") == ["0.500", "0.126", "0.374", "0.15"]
    assert f"Accepted by {hostile} at 2026-11-24 10:15 UTC: adults only {hostile}" in page.text
    assert "script" not in page.tags
    assert page.handlers == set()


def test_a_refused_age_distribution_names_the_command_and_the_setting(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(False, (SHIFT.sentence,), True), shift=SHIFT)
    assert "age-tasks labels accept monday --why '…'" in page.text
    assert "validate.max_age_shift" in page.text
    assert "Compared with the labels that run monday<b> accepted: 600 ages there, 400 here." in page.text
    assert "labels accept" not in page_of(run, tmp_path, Verdict(True, ()), shift=SHIFT).text


def test_quarantined_rows_are_grouped_by_fault_with_line_reason_and_an_image_if_readable(
    run: Workspace, tmp_path: Path
):
    page = page_of(run, tmp_path, Verdict(True, ()))
    groups = page.soup.find_all("details")
    assert [group.find("summary").text for group in groups] == ["1 × age out of range", "1 × image missing"]
    old, missing = (group.find_all("tr")[1] for group in groups)
    assert old.find("img")["src"].startswith("data:image/jpeg;base64,")
    assert missing.find("img") is None
    cells = ["4", "c.jpg", "200", "real_age 200 is not between 0 and 120 years"]
    assert [cell.text for cell in old.find_all("td")[1:]] == cells
    links = [link["href"] for link in page.soup.find_all("a")]
    for order in ORDERS:
        assert f"quarantine_by_{order}.html" in links
    assert [page.soup.find(id=link[1:]).find_parent("details") for link in links if link.startswith("#")] == groups


@pytest.mark.parametrize(
    ("order", "first"), [("line", "4"), ("name", "4"), ("age", "4"), ("reason", "5")], ids=list(ORDERS)
)
def test_quarantined_rows_are_listed_in_every_order_and_by_fault(order: str, first: str):
    page = Page(quarantine_page("monday", QUARANTINE, order))
    rows = page.soup.select("tbody tr")
    assert rows[0].find("td").text == first
    assert len(rows) == 2
    shown_by = {link.text: link["href"] for link in page.soup.find_all("a")}
    target = page.soup.find(id=shown_by["1 × image missing"].removeprefix("#"))
    assert target is not None
    (number,) = next(row for row in rows if "gone.jpg" in row.text)["class"]
    assert f"#{target['id']}:target ~ .wide tbody tr:not(.{number}) {{ display: none; }}" in page.html
    assert shown_by["quarantine.csv"] == "quarantine.csv"


def test_2000_quarantined_rows_are_a_page_below_3_megabytes(run: Workspace, tmp_path: Path):
    pixels = np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)  # compresses worse than any photograph
    Image.fromarray(pixels).save(tmp_path / "noise.jpg")
    faults = [f"fault {number % 12}" for number in range(2000)]
    rows = pd.DataFrame({"line": range(2, 2002), "file_name": "noise.jpg", "age_text": "30", "fault": faults})
    rows = rows.assign(
        reason="this file name is listed with different ages: " + ", ".join(["30 (noise.jpg, line 7)"] * 5)
    )
    table = rows.assign(real_age=30.0, sha256="a", problem="")
    page = page_of(run, tmp_path, Verdict(True, ()), table=table, quarantine=rows)
    assert len(page.html.encode()) < 3e6
    assert page.html.count("<td>noise.jpg</td>") == 2000
    assert len(quarantine_page("monday", rows, "line").encode()) < 3e6


def test_what_changed_since_the_last_run_is_named(run: Workspace, tmp_path: Path):
    corrected = pd.DataFrame({"line": [2], "file_name": ["a.jpg"], "before": ["12,5"], "after": ["<12.5>"]})
    left = pd.DataFrame({"line": [3], "file_name": ["b.jpg"], "age_text": ["31"]})
    replaced = pd.DataFrame({"line": [4], "file_name": ["c.jpg"], "age_text": ["32"]})
    changes = LabelChanges("sunday", 3, 1, corrected, replaced, ("+who",), {"person": 2, "sex": 1}, QUARANTINE, left)
    page = page_of(run, tmp_path, Verdict(True, ()), changes=changes)
    assert (
        "Compared with the labels of run sunday: 3 file names added, 1 removed, 1 age changed, 1 image replaced;"
        in page.text
    )
    assert "1 row left the quarantine, 2 entered it" in page.text
    assert "Columns gained (+) or lost (-): +who." in page.text
    assert "Other values in further columns: person of 2 images, sex of 1 image." in page.text
    assert "2 a.jpg 12,5 <12.5>" in page.texts("tr")
    assert page.row("3") == ["3", "b.jpg", "31"]
    assert "Since the last run" not in page_of(run, tmp_path, Verdict(True, ())).headings


def test_copies_under_another_name_are_named(run: Workspace, tmp_path: Path):
    copies = pd.DataFrame(
        {"line": [3], "file_name": ["b.jpg"], "real_age": [30.0], "first_line": [2], "first_file_name": ["a.jpg"]}
    )
    page = page_of(run, tmp_path, Verdict(True, ()), copies=copies)
    assert page.row("3", 4) == ["3", "b.jpg", "a.jpg, line 2", "30"]


def test_expectations_have_their_bounds_and_what_was_found(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    assert [page.row("✗ not by all rows")[3:], *(row[3:] for row in rows_of(page, "✓ met"))] == [
        ["0 to 120", "1 row failed"],
        ["100 or more", "2"],
        ["0 to 0.15", "no previous labels"],
    ]


def test_near_duplicates_with_other_ages_are_marked(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    (pair,) = page.soup.select(".pairs:not(.sample) figure")
    assert pair.find("figcaption")["class"] == ["bad"]
    assert pair.find("figcaption").get_text(" ") == "30 and 31 years a.jpg b.jpg"
    assert len(pair.find_all("img", src=True)) == 2


def rows_of(page: Page, first: str) -> list[list[str]]:
    rows = [[cell.get_text(" ").strip() for cell in row.find_all("td")] for row in page.soup.find_all("tr")]
    return [row for row in rows if row and row[0] == first]
