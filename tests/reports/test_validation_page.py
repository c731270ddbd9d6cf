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
from age_tasks.data.validation import AgeShift, Verdict
from age_tasks.environment import Locations
from age_tasks.registry.labels_acceptance import LabelsAcceptance
from age_tasks.reports import figures, validation_page
from age_tasks.runs.run import Workspace, open_run, start_run
from tests.support.page import Page

TABLE = pd.DataFrame(
    {
        "line": [2, 3, 4, 5],
        "file_name": ["a.jpg", "b.jpg", "c.jpg", "gone.jpg"],
        "real_age": [30.0, 31.0, 200.0, 30.0],
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
NEAR = pd.DataFrame(
    {
        "first_file_name": ["a.jpg"],
        "first_real_age": [30.0],
        "second_file_name": ["b.jpg"],
        "second_real_age": [31.0],
    }
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


def page_of(run: Workspace, images: Path, verdict: Verdict, **changes: object) -> Page:
    accepted = TABLE[~TABLE["line"].isin(QUARANTINE["line"])]
    facts = {"rows": 2.0, "drift": None}
    settings = ValidateSettings(max_quarantine_fraction=0.6)
    found = (TABLE, QUARANTINE, FINDINGS, facts, audit(accepted), NEAR, settings)
    folder = ImageFolder(str(images), run.cache)
    return Page(validation_page.validation_page(run, verdict, *found, folder, **changes))


def test_accepted_labels_have_their_counts_in_the_verdict(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    assert page.verdict == (
        "Accepted. 2 of 4 rows are used for training; 2 are quarantined, each with its reason below."
    )
    assert [card.split(" ")[0] for card in page.cards] == ["4", "2", "2", "30.5"]
    assert "50.0 % (limit 60.0 %)" in page.cards[2]


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


def test_quarantined_rows_have_line_reason_and_a_thumbnail_if_readable(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    table = page.soup.find("h2", string="Quarantined rows").find_next("table")
    rows = {row.find_all("td")[2].text: row for row in table.find_all("tr")[1:]}
    assert rows["c.jpg"].find("img")["src"].startswith("data:image/jpeg;base64,")
    assert rows["gone.jpg"].find("img") is None
    assert [cell.text for cell in rows["c.jpg"].find_all("td")[1:]] == [
        "4",
        "c.jpg",
        "200",
        "real_age 200 is not between 0 and 120 years",
    ]
    assert "1 × age out of range; 1 × image missing" in page.text


def test_expectations_have_their_bounds_and_what_was_found(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    assert [page.row("✗")[3:], *(row[3:] for row in rows_of(page, "✓"))] == [
        ["0 to 120", "1 row failed"],
        ["100 or more", "2"],
        ["0 to 0.15", "no previous labels"],
    ]


def test_near_duplicates_with_other_ages_are_marked(run: Workspace, tmp_path: Path):
    page = page_of(run, tmp_path, Verdict(True, ()))
    (pair,) = page.soup.select(".pairs figure")
    assert pair.find("figcaption")["class"] == ["bad"]
    assert pair.find("figcaption").get_text(" ") == "30 and 31 years a.jpg b.jpg"
    assert len(pair.find_all("img", src=True)) == 2


def rows_of(page: Page, first: str) -> list[list[str]]:
    rows = [[cell.get_text(" ").strip() for cell in row.find_all("td")] for row in page.soup.find_all("tr")]
    return [row for row in rows if row and row[0] == first]
