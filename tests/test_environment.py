"""The environment variables: how values are read, which are refused and how, and that no other module reads them."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from platformdirs import user_data_path

from age_tasks import resources
from age_tasks.environment import (
    GROUPS,
    PROJECT,
    InterfaceVariables,
    Locations,
    MLflowVariables,
    NoticeVariables,
    RuntimeVariables,
    StageVariables,
    Variables,
    WorkflowVariables,
    describe_environment,
    environment_problems,
    working_folder,
)
from age_tasks.errors import SettingsError

OURS = ("AGE_", "MLFLOW_")


def test_defaults_hold_for_unset_empty_and_blank_variables():
    for group in GROUPS:
        unset = group.from_env({})
        names = [group.variable(field) for field in group.model_fields]
        assert group.from_env(dict.fromkeys(names, "")) == unset
        assert group.from_env(dict.fromkeys(names, "  ")) == unset
    assert environment_problems({}) == []


@pytest.mark.parametrize("text", ["true", "True", " TRUE ", "1", "yes", "Yes", "on", "ON"])
def test_every_usual_spelling_of_true_counts(text: str):
    assert WorkflowVariables.from_env({"AGE_REQUIRE_APPROVAL": text}).require_approval is True
    assert StageVariables.from_env({"AGE_AGAIN": text}).again is True


@pytest.mark.parametrize("text", ["false", "False", " no", "0", "off", "OFF", ""])
def test_every_usual_spelling_of_false_counts(text: str):
    assert WorkflowVariables.from_env({"AGE_REQUIRE_APPROVAL": text}).require_approval is False
    assert StageVariables.from_env({"AGE_AGAIN": text}).again is False


@pytest.mark.parametrize(
    ("group", "env", "message"),
    [
        (
            WorkflowVariables,
            {"AGE_REQUIRE_APPROVAL": "maybe"},
            "AGE_REQUIRE_APPROVAL='maybe' is invalid: expected",
        ),
        (StageVariables, {"AGE_AGAIN": "2"}, "AGE_AGAIN='2' is invalid: expected true or false"),
        (StageVariables, {"AGE_SET": "finetune.epochs=3"}, "AGE_SET is not JSON"),
        (StageVariables, {"AGE_SET": "[1]"}, "AGE_SET must be a JSON object"),
        (WorkflowVariables, {"AGE_LABELS_POLL_SECONDS": "1e9"}, "a number of seconds from 1 to 86400"),
        (WorkflowVariables, {"AGE_SETTLE_SECONDS": "nan"}, "AGE_SETTLE_SECONDS='nan' is invalid: expected a number of"),
        (NoticeVariables, {"AGE_NOTIFY_EMAIL": "ann"}, "AGE_NOTIFY_EMAIL='ann' is invalid: expected an e-mail address"),
        (NoticeVariables, {"AGE_DEADLINE_HOURS": "12"}, "set AGE_NOTIFY_EMAIL too"),
        (RuntimeVariables, {"AGE_CPUS": "1_0"}, "AGE_CPUS='1_0' is invalid: expected a number of cores above 0"),
        (InterfaceVariables, {"AGE_PORT": "1_0"}, "AGE_PORT='1_0' is invalid: expected a port from 1 to 65535"),
        (RuntimeVariables, {"AGE_CPUS": "x" * 100_000}, "xxx' is invalid: expected a number of cores above 0"),
        (RuntimeVariables, {"AGE_MEMORY": "1٣g"}, "expected a size such as 16g"),
        (RuntimeVariables, {"AGE_GPUS": "٣"}, "expected a number of GPUs or 'all'"),
        (RuntimeVariables, {"AGE_KUBERNETES_NODE_SELECTOR": "a=b\x1b"}, "expected labels such as"),
        (RuntimeVariables, {"AGE_TRAINER_IMAGE": "https://me:secret@h/x"}, "AGE_TRAINER_IMAGE='https://h/x' is"),
        (NoticeVariables, {"AGE_NOTIFY_EMAIL": "a@b\x1b"}, "expected an e-mail address"),
        (StageVariables, {"AGE_SET": '{"gate.policy": "better", "gate.policy": "not_worse"}'}, "is given twice"),
        (StageVariables, {"AGE_SET": "[" * 60_000}, "AGE_SET is not JSON (nested too deeply)"),
        (Locations, {"AGE_CACHE": "~nobody-here/x"}, "AGE_CACHE: '~nobody-here/x' names no folder of this machine"),
        (Locations, {"AGE_CACHE": "s3://bucket/x"}, "AGE_CACHE: 's3://bucket/x' is no folder of this machine"),
        (Locations, {"AGE_STORE": "s3://AKIA:sec/secret@bucket/x"}, "AGE_STORE: 's3://bucket/x' was given with a user"),
        (RuntimeVariables, {"AGE_CPUS": "0"}, "AGE_CPUS='0' is invalid: expected a number of cores above 0"),
        (Locations, {"AGE_IMAGES": "s3://me:secret@b/x"}, "AGE_IMAGES: 's3://b/x' was given with a user or password"),
    ],
)
def test_an_invalid_value_is_refused_by_name_with_what_is_valid(
    group: type[Variables], env: Mapping[str, str], message: str
):
    with pytest.raises(SettingsError) as error:
        group.from_env(env)
    assert message in str(error.value)
    assert "secret" not in str(error.value)
    assert str(error.value) in environment_problems(env)


def test_the_cache_may_be_an_address():
    assert Locations.from_env({"AGE_CACHE": "file:///tmp/a%20b"}).cache == Path("/tmp/a b")
    assert Locations.from_env({"AGE_CACHE": "a:b"}).cache == Path.cwd() / "a:b"
    assert Locations.from_env({"AGE_CACHE": "/a:b"}).cache == Path("/a:b")
    assert Locations.from_env({"AGE_CACHE": "~/a:b"}).cache == Path.home() / "a:b"


def test_every_problem_has_its_line():
    env = {"AGE_GPUS": "-1", "AGE_SHM": "1", "AGE_RUNTIME": "podman"}
    with pytest.raises(SettingsError) as error:
        RuntimeVariables.from_env(env)
    lines = str(error.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == ["AGE_RUNTIME", "AGE_GPUS", "AGE_SHM"]
    assert environment_problems(env) == lines


def test_a_wrong_variable_stops_only_what_reads_it():
    assert Locations.from_env({"AGE_GPUS": "-1", "AGE_SET": "["}).labels == ""


def test_images_are_beside_the_labels_unless_named():
    assert Locations.from_env({"AGE_LABELS": "faces/labels.csv"}).images == "faces/images"
    assert Locations.from_env({"AGE_LABELS": "s3://bucket/faces/labels.csv"}).images == "s3://bucket/faces/images"
    assert Locations.from_env({"AGE_LABELS": "faces/labels.csv", "AGE_IMAGES": "/pictures"}).images == "/pictures"


def test_store_and_cache_are_in_the_checkout():
    found = Locations.from_env({})
    assert found.store == (PROJECT / ".age" / "store").as_uri()
    assert found.cache == PROJECT / ".age" / "cache"


def test_an_installed_package_keeps_its_state_outside_of_site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "INSTALLED", True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    found = Locations.from_env({})
    assert found.cache.is_relative_to(user_data_path("age-tasks"))
    assert not found.cache.is_relative_to(PROJECT)
    assert found.store == found.cache.with_name("store").as_uri()
    assert working_folder() == tmp_path


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGE_LABELS", "from-the-environment.csv")
    assert Locations().labels == ""
    assert Locations.from_env().labels == "from-the-environment.csv"


def test_every_variable_in_the_project_is_described_once():
    described = [variable.name for variable in describe_environment()]
    assert len(described) == len(set(described))
    assert all(variable.description and variable.read_by for variable in describe_environment())
    files = [PROJECT / "docker-compose.yaml", PROJECT / "Makefile", *(PROJECT / "docker").glob("*.Dockerfile")]
    texts = [*map(Path.read_text, files), *(text for path in sources() for text in strings(path))]
    named = {name for text in texts for name in re.findall(r"\bAGE_[A-Z][A-Z_]*[A-Z]\b", text)}
    assert "AGE_LABELS" in named
    assert named <= set(described)


def test_secrets_are_not_shown():
    given = MLflowVariables.from_env({"MLFLOW_TRACKING_PASSWORD": "secret", "MLFLOW_TRACKING_TOKEN": "secret"})
    assert given.password == "secret"
    assert "secret" not in repr(given)


def sources() -> Iterator[Path]:
    for folder in ("age_tasks", "plugins", "dags"):
        yield from (PROJECT / folder).rglob("*.py")


def strings(path: Path) -> Iterator[str]:
    """The strings of a module; constants of Python may have names that look like variables."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def read_names(tree: ast.Module) -> Iterator[str]:
    """The variables of ours that a module reads: `….get("AGE_…")`, `getenv("AGE_…")`, `…["AGE_…"]`."""
    for node in ast.walk(tree):
        argument: ast.expr | None = None
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith(("get", "getenv", "pop")):
            argument = node.args[0]
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            argument = node.slice
        if isinstance(argument, ast.Constant) and str(argument.value).startswith(OURS):
            yield str(argument.value)


def test_no_other_module_reads_a_variable_from_the_environment():
    tried = 'a = os.environ.get("AGE_A") or os.environ["AGE_B"] or os.getenv("AGE_C")'
    assert sorted(read_names(ast.parse(tried))) == ["AGE_A", "AGE_B", "AGE_C"]
    allowed = {("airflow.py", "AGE_DEADLINE_HOURS")}  # taken out of the environment of `airflow dags test`
    found = {(path.name, name) for path in sources() for name in read_names(ast.parse(path.read_text()))}
    assert found - allowed == set()


def test_the_module_is_cheap_to_import():
    code = "import sys, time; t = time.process_time(); import age_tasks.environment; print(time.process_time() - t)"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    seconds, loaded = done.stdout.splitlines()
    assert float(seconds) < 0.6  # of the processor's time; 0.2 where nothing else runs
    assert not {"pandas", "numpy", "airflow", "tensorflow", "keras", "boto3"} & set(loaded.split())


def test_the_package_changes_no_variable_when_it_is_imported():
    code = "import os; before = dict(os.environ); import age_tasks.environment, age_tasks.pipeline, age_tasks.cli.app"
    code += "; print(set(os.environ.items()) ^ set(before.items()) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"
