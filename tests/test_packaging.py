"""The wheel: what it holds, and that it works without the checkout."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import age_tasks
from age_tasks.environment import PROJECT
from age_tasks.pipeline import PIPELINE
from age_tasks.runs.provenance import code_digest

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
LOCKS = [PROJECT / "requirements.lock", *sorted((PROJECT / "docker").glob("*.lock"))]
INSPECT = """
import json, pathlib
import age_tasks
from age_tasks.config import recipe_names
from age_tasks.data.expectations import EXPECTATIONS
from age_tasks.environment import Locations
from age_tasks.pipeline import PIPELINE
from age_tasks.reports import html
from age_tasks.runs.provenance import code_digest
package = pathlib.Path(age_tasks.__file__).parent
print(json.dumps({
    "package": str(package),
    "recipes": recipe_names(),
    "suites": sorted(path.name for path in (EXPECTATIONS / "suites").iterdir()),
    "expectations": str(EXPECTATIONS),
    "templates": sorted(path.name for path in (package / "reports" / "templates").iterdir()),
    "typed": (package / "py.typed").exists(),
    "digests": {name: code_digest(stage.needs.code) for name, stage in PIPELINE.items()},
    "store": Locations.from_env({}).store,
    "cache": str(Locations.from_env({}).cache),
}))
"""


class Installed:
    """The wheel in a virtual environment that finds its dependencies in this one, but not the checkout."""

    def __init__(self, root: Path):
        self.home = root / "home"
        self.home.mkdir()
        self.venv = root / "venv"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        offline = ["--quiet", "--no-deps", "--no-index"]
        _run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(root), str(PROJECT)], root)
        (self.wheel,) = root.glob("*.whl")
        _run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], root)
        (self.site_packages,) = self.venv.glob("lib/python*/site-packages")
        (self.site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        python = str(self.venv / "bin" / "python")
        _run([*pip, "--python", python, "install", *offline, "--no-compile", str(self.wheel)], root)

    def run(self, *command: str) -> str:
        """stdout of a program of the virtual environment, run in an empty home folder."""
        return _run([str(self.venv / "bin" / command[0]), *command[1:]], self.home)

    def files(self) -> set[Path]:
        return set(self.site_packages.rglob("*"))


def _run(command: list[str], home: Path) -> str:
    hidden = ("AGE_", "PYTHON", "XDG_", "COV_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    env |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("packaging"))


@pytest.fixture(scope="module")
def found(installed: Installed) -> dict[str, Any]:
    """What the installed package says of itself."""
    return json.loads(installed.run("python", "-c", INSPECT))


def test_wheel_has_the_version_and_licence_of_the_project(installed: Installed):
    assert installed.wheel.name == f"age_retraining-{age_tasks.__version__}-py3-none-any.whl"
    (info,) = installed.site_packages.glob("age_retraining-*.dist-info")
    metadata = (info / "METADATA").read_text()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: <3.12,>=3.11" in metadata
    assert {"LICENSE", "NOTICE"} <= {path.name for path in (info / "licenses").iterdir()}


def test_commands_work_from_the_wheel_and_write_nothing_into_site_packages(installed: Installed):
    before = installed.files()
    assert "snapshot" in installed.run("age-tasks", "--help")
    assert "finetune.last_layers" in installed.run("age-tasks", "settings")
    drawn = json.loads(installed.run("age-tasks", "sample", "--out", "faces", "--count", "3").splitlines()[-1])
    assert drawn["rows"] == 3
    assert installed.files() == before


def test_wheel_holds_recipes_templates_and_expectations(installed: Installed, found: dict[str, Any]):
    package = installed.site_packages / "age_tasks"
    assert Path(found["package"]) == package
    assert found["recipes"] == ["demo", "gpu_full", "quick", "reference", "strong", "strong_resnet50"]
    assert found["expectations"] == str(package / "expectations")
    assert found["suites"] == sorted(path.name for path in (PROJECT / "expectations" / "suites").iterdir())
    templates = PROJECT / "age_tasks" / "reports" / "templates"
    assert found["templates"] == sorted(path.name for path in templates.iterdir())
    assert found["typed"]


def test_code_digests_are_the_same_in_the_wheel_and_in_the_checkout(found: dict[str, Any]):
    assert found["digests"] == {name: code_digest(stage.needs.code) for name, stage in PIPELINE.items()}


def test_an_installed_package_keeps_store_and_cache_in_the_home_folder(installed: Installed, found: dict[str, Any]):
    assert found["store"].startswith(installed.home.as_uri())
    assert found["cache"].startswith(str(installed.home))


def test_image_tags_are_the_version_of_the_package():
    files = (PROJECT / name for name in ("docker-compose.yaml", "docker/worker.yaml"))
    services = [service for file in files for service in yaml.safe_load(file.read_text())["services"].values()]
    tags = {image for service in services if (image := service.get("image", "")).startswith("age-")}
    assert tags == {f"age-{name}:{age_tasks.__version__}" for name in ("airflow", "worker")}
    named = [PROJECT / "README.md", *sorted((PROJECT / "docker").glob("*.Dockerfile")), *PROJECT.glob("docs/*.md")]
    versions = {
        tag for path in named for tag in re.findall(r"age-(?:airflow|trainer|worker):(\d[\w.]*)", path.read_text())
    }
    assert versions <= {age_tasks.__version__}


def test_requirements_txt_lists_what_pyproject_toml_asks_for():
    project = PYPROJECT["project"]
    extras = [
        each
        for name, group in project["optional-dependencies"].items()
        if name not in ("gpu", "peers")
        for each in group
    ]
    allowed = {canonicalize_name(each.name): each for each in map(Requirement, [*project["dependencies"], *extras])}
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    listed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert sorted(allowed) == [canonicalize_name(each.name) for each in listed]
    for each in listed:
        (pin,) = each.specifier
        assert pin.operator == "=="
        assert allowed[canonicalize_name(each.name)].specifier.contains(pin.version), each


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_locks_pin_and_hash_everything_and_name_no_place(lock: Path):
    text = lock.read_text()
    pins = re.findall(r"^[a-z0-9-]+(?:\[[a-z0-9,-]+\])?==\S+ \\$", text, re.MULTILINE)
    assert len(pins) > 30
    assert len(pins) == len(re.findall(r"^[^ #]", text, re.MULTILINE))
    assert "--index" not in text
    assert "--find-links" not in text
    assert "file:" not in text
    assert "://" not in text


@pytest.mark.parametrize("lock", LOCKS[1:], ids=lambda path: path.stem)
def test_images_have_the_versions_that_are_tested(lock: Path):
    tested = _pins(LOCKS[0])
    assert {name: pin for name, pin in _pins(lock).items() if tested.get(name, pin) != pin} == {}
    assert _pins(lock).get("tensorflow", tested["tensorflow-cpu"]) == tested["tensorflow-cpu"]


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))
