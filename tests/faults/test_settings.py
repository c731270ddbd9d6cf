"""Generated recipes, settings of the command line and settings as JSON: refused, or valid and as they are written."""

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from age_tasks.config import RECIPES, Config, describe_settings, load_recipe, parse_overrides, recipe_names
from age_tasks.environment import StageVariables
from tests.faults.generated import attempts, generated, outcome, texts
from tests.faults.mutated_bytes import mutated
from tests.faults.tally import Tally

DEFAULTS = {name: json.loads(default) for name, default, _ in describe_settings()}
DEMO = load_recipe("demo")
NUMBER = re.compile(r"[+-]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?")
CHOICES = {"quantile", "equal_width", "regression", "expected_value", "plateau", "cosine", "baseline", "champion"}
CHOICES |= {"better", "not_worse", "auto", "always", "never"}
NOTHING = {"", "~", "null", "Null", "NULL"}  # in YAML: of a setting that is a text, an empty one
TRUE, FALSE = {"true", "yes", "on", "1", "t", "y", "1.0"}, {"false", "no", "off", "0", "f", "n", "0.0"}
TOKENS = [token.encode("utf-8", "surrogatepass") for token in (",", '"', "\r", "\n", "\0", "\ufeff", "nan",
    "1e5", "1_0", "٣", "\x1a", "\\", "..", "/", ";", "\t", "0x10", "-", "inf", "+", "=", "{", "}", "[", "]",
    ":", ": ", "&a ", "*a", "!!int ", "!!binary ", "!!set ", "? ", ".inf", "null", "true", "2026-13-45", "|\n",
    ">-\n", "%YAML 9\n", "---\n", "\u2028", "\x85", "9" * 400, "<<: ", "#", " #", "1:30", "010", "epochs: 3\n",
    "baseline:\n", "  epochs: 4\n", "\ud800", )] + [b"\xff\xfe"]  # fmt: skip
names = st.one_of(
    st.sampled_from(sorted(DEFAULTS)),
    st.sampled_from(sorted(DEFAULTS)),
    st.tuples(st.sampled_from(["finetune", "gate", "views", "", "recipe", "validate_"]), texts()).map(".".join),
    texts(),
)
right = [
    "3",
    "0.5",
    "7",
    "64",
    "quantile",
    "better",
    "true",
    "off",
    "[0, 50, 120]",
    "age-team",
    "resnet50",
    "auto",
    "12:30",
]


def value_of(config: Config, name: str) -> Any:
    section, _, field = name.partition(".")
    return config.to_dict()[section][field]


def as_text_says(value: Any, text: str, default: Any) -> bool:
    """Whether a value is what a person who wrote this text meant, by a reading of its own."""
    bare = text.lstrip("\ufeff").strip(" \t\r\n\x85\u2028\u2029")  # what is blank to YAML
    quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\""
    if quoted:
        bare = bare[1:-1]
    if isinstance(default, int | float):  # a switch too: 0 and 1 in any spelling of a number
        if re.fullmatch("[+-]?0[xb][0-9a-fA-F_]+", bare):
            return bool(value == int(bare.replace("_", ""), 0))
        if NUMBER.fullmatch(bare):
            return math.isclose(value, float(bare.replace("_", "")))
        return isinstance(default, bool) and value is (bare.lower() in TRUE) and bare.lower() in TRUE | FALSE
    if isinstance(default, list):
        return value == [float(each) for each in re.findall(r"[^\[\],\s]+", bare)]
    plain = not quoted and not re.search(r"[\n\r'\"\\\x85\u2028\u2029]", text)
    if value == "" and bare in NOTHING:
        return True
    return not plain or value == bare or bare.startswith(("!!", "&", "|", ">", "? ")) or bool(re.match("[|>]", bare))


def check_typed(name: str, text: str, tally: Tally) -> None:
    """`--set name=text`."""
    with tally.attempt("set_texts"):
        assignment = f"{name}={text}"
        recipe = DEMO
        found, refused = outcome(lambda: recipe.with_overrides(parse_overrides([assignment])), "--set")
        if refused is None:
            (real,) = parse_overrides([assignment])
            value = value_of(found, real)
            assert as_text_says(value, assignment.partition("=")[2], DEFAULTS[real]), (assignment, value)
            same = recipe.to_dict()
            section, _, field = real.partition(".")
            same[section][field] = value
            assert found.to_dict() == same  # and nothing else has changed
            json.dumps(found.to_dict(), allow_nan=False)


test_some_typed_settings, test_many_typed_settings = generated(25_000, name=names, text=texts(*right))(check_typed)

values = st.one_of(
    texts(*right),
    st.integers(-5, 10),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.lists(st.one_of(st.integers(0, 120), st.floats(0, 120), st.booleans(), st.text(max_size=3)), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


def check_json(pairs: list[tuple[str, Any]], tail: str, tally: Tally) -> None:
    """`AGE_SET`, as the trigger form and people write it."""
    with tally.attempt("json_settings"):
        body = ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs)
        text = f"{{{body}}}{tail}"
        recipe = DEMO

        def act() -> Config:
            return recipe.with_overrides(StageVariables.from_env({"AGE_SET": text}).set, "AGE_SET")

        found, refused = outcome(act, "AGE_SET")
        if refused is None and text.strip():
            assert not tail.strip()
            assert len({name for name, _ in pairs}) == len(pairs)
            for name, value in pairs:
                real, default = value_of(found, name), DEFAULTS[name]
                if isinstance(value, str):
                    assert as_text_says(real, value, default) or (isinstance(default, str) and real == value)
                elif value is None:
                    assert (real, type(default)) == ("", str)
                elif isinstance(default, bool):
                    assert real == value
                elif isinstance(default, list):
                    assert not any(isinstance(each, bool) for each in value)
                    assert real == [float(each) for each in value]
                else:
                    assert not isinstance(value, bool)
                    assert real == value
                    assert value == value


test_some_json, test_many_json = generated(
    20_000,
    pairs=st.lists(st.tuples(names, values), max_size=3),
    tail=st.sampled_from(["", "", "", "", " ", "x", "}", ","]),
)(check_json)


def check_recipe(data: bytes, path: Path, tally: Tally) -> None:
    with tally.attempt("recipes"):
        path.write_bytes(data)
        found, refused = outcome(lambda: load_recipe(str(path)), "own.yaml")
        if refused is not None:
            return
        assert path.read_bytes() == data
        json.dumps(found.to_dict(), allow_nan=False)
        # By PyYAML's own reading, which knows no tags of ours: each value stands there once, and is the one taken.
        said = yaml.load(data, yaml.BaseLoader) or {}
        for section, fields in said.items():
            if section == "<<" or not isinstance(fields, dict):
                continue
            for field, text in fields.items():
                default = DEFAULTS.get(f"{section}.{field}")
                if isinstance(text, str) and isinstance(default, int | float):
                    assert as_text_says(value_of(found, f"{section}.{field}"), text, default), (section, field, text)


def mutated_recipes(rng: random.Random, request: pytest.FixtureRequest, path: Path, many: int, tally: Tally) -> None:
    recipes = [(RECIPES / f"{name}.yaml").read_bytes() for name in recipe_names()]
    for _ in attempts(many, request):
        check_recipe(mutated(rng.choice(recipes), rng, TOKENS), path, tally)


def test_some_mutated_recipes(rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally):
    mutated_recipes(rng, request, tmp_path / "own.yaml", 0, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(2))
def test_many_mutated_recipes(
    part: int, rng: random.Random, request: pytest.FixtureRequest, tmp_path: Path, tally: Tally
):
    mutated_recipes(rng, request, tmp_path / "own.yaml", 7_500, tally)
