"""Every refusal in the code, found by reading it.

A refusal is a place that makes an error for a person: it constructs one of the project's errors, an entry of the table
of failures of S3, or a text of one of the functions in `TEXTS`.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from age_tasks.environment import PROJECT

SOURCES = ("age_tasks", "plugins/age_retraining_plugin", "dags")
ROOT = "AgeTasksError"
# What becomes the message of an error or warning without being one of the project's errors.
MADE = {
    "AirflowSkipException",
    "Failure",
    "Refused",
    "TaskFailedForGood",
    "UnknownScaleError",
    "UnusableError",
}
# Functions that return reasons: of an image, a name, a key; each text that they return is a refusal.
TEXTS = {"name_problem", "read_problem", "size_problem", "_problem"}
# What validators raise whose text ours shows. Of a variable, it shows what is expected in place of a custom error.
VALIDATORS = {"config.py": {"ValueError", "PydanticCustomError"}, "environment.py": {"ValueError"}}


class Refusal(NamedTuple):
    """A place in the code that refuses.

    Args:
        module: such as `data/tables.py`; of the plugin, its path below `plugins/`.
        text: the function's name and the message, with `{}` for what is filled in.
        line: where it is.
    """

    module: str
    text: str
    line: int

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its messages match."""
        message = self.text.partition(": ")[2]
        return re.compile(".*".join(re.escape(part) for part in message.split("{}")), re.DOTALL)

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.text}"


def walks(module: str, part: str) -> pytest.MarkDecorator:
    """Marks a test that walks a refusal.

    Args:
        module: where it is, as in `Refusal`.
        part: its text, or a part of it that no other refusal of the module has.
    """
    _WALKED.append((module, part))
    return pytest.mark.refusal(module, part)


def walked() -> list[tuple[str, str]]:
    """What the imported tests walk."""
    return _WALKED


def matching(module: str, part: str) -> list[Refusal]:
    """The refusals that a test walks: one, or several with the same text."""
    there = [each for each in refusals() if each.module == module]
    found = [each for each in there if each.text == part] or [each for each in there if part in each.text]
    assert len({each.text for each in found}) == 1, f"{module} has no single refusal with {part!r}: {found}"
    return found


_WALKED: list[tuple[str, str]] = []


@cache
def refusals() -> tuple[Refusal, ...]:
    """All of them, in the order of modules and lines."""
    trees = {_module(path): ast.parse(path.read_text()) for path in _files()}
    names = _errors(trees.values()) | MADE
    found = (each for module, tree in trees.items() for each in _in(module, tree, names, _makers(tree, names)))
    return tuple(sorted(found, key=lambda each: (each.module, each.line)))


def _files() -> Iterator[Path]:
    for folder in SOURCES:
        yield from sorted((PROJECT / folder).rglob("*.py"))


def _module(path: Path) -> str:
    name = path.relative_to(PROJECT).as_posix()
    return name.removeprefix("age_tasks/").removeprefix("plugins/age_retraining_plugin/")


def _errors(trees: Iterable[ast.AST]) -> set[str]:
    """The names of the project's errors: every class that derives from the root of the tree."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = {ROOT}
    while more := {each.name for each in classes if names & {ast.unparse(base) for base in each.bases}} - names:
        names |= more
    return names


def _makers(tree: ast.AST, names: set[str]) -> dict[str, set[str]]:
    """The functions of a module that return an error, by its name; who calls them gives the text."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns and (made := ast.unparse(node.returns)) in names:
            found.setdefault(made, set()).add(node.name)
    return found


def _in(
    module: str, tree: ast.AST, names: set[str], makers: dict[str, set[str]], function: str = ""
) -> Iterator[Refusal]:
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if (message := _message(node, names, makers, inside, module)) is not None:
            yield Refusal(module, f"{inside}: {message}", node.lineno)  # type: ignore[attr-defined]
        yield from _in(module, node, names, makers, inside)


def _message(node: ast.AST, names: set[str], makers: dict[str, set[str]], function: str, module: str) -> str | None:
    """The message that a node makes, if it is a refusal."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [_template(each) for each in node.args[:2]]
        if name == "Failure" or (name in makers.get("Failure", ()) and "".join(texts).replace("{}", "")):
            return "{}; ".join(texts)  # what happened, and the cure
        if any(name in each for each in makers.values()):
            return next((text for text in texts if text.replace("{}", "") and text != "Airflow"), None)
        if node.args and (name in names or name in VALIDATORS.get(module, ())):
            return _template(node.args[1 if name == "PydanticCustomError" else 0])
    if isinstance(node, ast.Return) and function in TEXTS and node.value is not None:
        return _template(node.value) or None
    return None


def _template(node: ast.expr) -> str:
    """A text with `{}` for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    return "{}"
