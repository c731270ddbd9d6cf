"""What modules may import of each other, beyond the rules between rooms in pyproject.toml."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from age_tasks.environment import PROJECT

FOLDERS = ("age_tasks", "benchmarks", "dags", "docs", "plugins", "tests")
OWN = ("age_tasks", "age_retraining_plugin", "benchmarks", "tests")


def modules() -> list[Path]:
    """All modules of the project."""
    return [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))]


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """The imports of the project's own names: module and name."""
    for node in ast.walk(ast.parse(path.read_text(), path.name)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in OWN:
            yield from ((node.module, alias.name) for alias in node.names)


def test_no_private_name_of_another_module_is_imported():
    found = [
        f"{path.relative_to(PROJECT)}: {module}.{name}"
        for path in modules()
        for module, name in own_imports(path)
        if name.startswith("_") and name not in ("__version__", "_inputs", "_train")  # the latter two are modules
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["age_tasks", "plugins", "dags"])
def test_the_program_imports_no_tests(folder: str):
    found = [
        str(path) for path in (PROJECT / folder).rglob("*.py") for module, _ in own_imports(path) if "tests" in module
    ]
    assert found == []


def test_no_test_module_is_imported():
    found = [
        f"{path.relative_to(PROJECT)}: {module}"
        for path in modules()
        for module, _ in own_imports(path)
        if module.rpartition(".")[2].startswith("test_") or module.endswith(".conftest") or module == "tests.conftest"
    ]
    assert found == []
