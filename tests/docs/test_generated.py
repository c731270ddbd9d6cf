"""The documentation follows the code: generated pages are current, links and commands exist."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from age_tasks.cli.app import app
from age_tasks.config import describe_settings, recipe_names
from age_tasks.environment import PROJECT, describe_environment
from age_tasks.errors import AgeTasksError
from age_tasks.pipeline import STAGES
from docs.generate import (
    LABELLING,
    PAGES,
    README,
    commands_page,
    environment_page,
    exit_codes_page,
    settings_page,
    stages_page,
)

DOCS = PROJECT / "docs"
MESSAGES_OF_OTHERS = {"could not select device driver"}  # Docker
PAGES_BY_HAND = sorted(path for path in (*DOCS.rglob("*.md"), *PROJECT.glob("*.md")) if path not in PAGES)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path):
    assert path.read_text() == PAGES[path](), f"{path.name} is stale: run `python -m docs.generate`"


def test_every_setting_and_recipe_is_documented():
    page = settings_page()
    assert all(f"| `{name}` |" in page and text for name, _, text in describe_settings())
    assert all(f"| `{name}` |" in page for name in recipe_names())


def test_every_environment_variable_is_documented():
    page = environment_page()
    assert all(f"| `{variable.name}` |" in page and variable.description for variable in describe_environment())


def test_every_command_is_documented():
    page = commands_page()
    groups = [get_command(app), get_command(app).commands["labels"]]
    names = [name for group in groups for name, command in group.commands.items() if not hasattr(command, "commands")]
    assert [name for name in names if f" {name}\n" not in page] == []


def test_the_layers_of_the_architecture_are_those_of_the_contract():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    contract = next(each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (DOCS / "architecture.md").read_text(), re.MULTILINE)
    layers = [sorted(layer.split(" | ")) for layer in reversed(contract["layers"])]
    assert [sorted(re.findall(r"`(\w+)(?:\.py)?`", names)) for _, names in rows] == layers


def test_every_stage_is_documented():
    assert all(f"| `{stage}` |" in stages_page() for stage in STAGES)


def test_every_exit_code_is_documented_with_a_meaning():
    page = exit_codes_page()
    for error in AgeTasksError.__subclasses__():
        assert f"| `{error.exit_code}` | `{error.__name__}` |" in page
        assert error.__doc__


@pytest.mark.parametrize("path", [README, LABELLING, *PAGES_BY_HAND], ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_to_files(path: Path):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 130
    assert len((PROJECT / "CONTRIBUTING.md").read_text().splitlines()) <= 40


def test_commands_that_pages_and_workflows_name_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    texts = [
        *(path.read_text() for path in (README, LABELLING, *PAGES_BY_HAND)),
        *(path.read_text() for path in (PROJECT / ".github").rglob("*.*")),
        (PROJECT / ".pre-commit-config.yaml").read_text(),
    ]
    named = {
        name
        for text in texts
        for name in re.findall(r"(?:`|run: |entry: |^)make ([a-z][a-z0-9-]*)", text, re.MULTILINE)
    }
    assert named <= targets


def test_the_labelling_guide_explains_every_fault_of_a_row():
    page = (DOCS / "labelling.md").read_text()
    suite = json.loads((PROJECT / "expectations" / "suites" / "rows.json").read_text())
    faults = [each["meta"]["fault"] for each in suite["expectations"] if each["meta"]]
    assert faults
    assert [fault for fault in faults if f"| {fault} |" not in page] == []


def test_every_page_is_in_the_navigation():
    navigation = (PROJECT / "mkdocs.yml").read_text()
    assert all(str(path.relative_to(DOCS)) in navigation for path in DOCS.rglob("*.md"))


def test_messages_of_the_runbook_are_those_of_the_code():
    """Terms of its troubleshooting, such as `no recipe '…'`, consist of fragments of messages."""
    texts = [path.read_text() for folder in ("age_tasks", "plugins") for path in (PROJECT / folder).rglob("*.py")]
    code = re.sub(r"""["']\s*\n\s*f?["']""", "", "\n".join([*texts, (PROJECT / "Makefile").read_text()]))
    terms = [line for line in (DOCS / "runbook.md").read_text().splitlines() if re.fullmatch(r"`.*`", line)]
    fragments = {
        part.strip(" '") for line in terms for term in re.findall(r"`([^`]+)`", line) for part in term.split("…")
    }
    assert len(terms) > 20
    assert [part for part in fragments - MESSAGES_OF_OTHERS if len(part) > 3 and part not in code] == []
