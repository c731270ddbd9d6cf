"""Generated confs of a run: every setting is applied as it is written; what nothing reads is refused by name."""

import copy
from types import SimpleNamespace
from typing import Any

import tests.plugins.conftest  # noqa: F401  Airflow's home, before Airflow is imported

from age_retraining_plugin.form import retraining_form  # isort: skip
from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
from age_retraining_plugin.trigger_conf import changed_settings, refuse_invalid
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from hypothesis import strategies as st
from jinja2.utils import htmlsafe_json_dumps

from age_tasks.config import Config, known_settings, load_recipe
from age_tasks.environment import StageVariables
from age_tasks.errors import SettingsError
from tests.faults.generated import SECRET, generated, outcome, texts
from tests.faults.tally import Tally

FORM = ParamsDict(retraining_form())
DEMO = load_recipe("demo")
KNOWN = sorted(known_settings())
SECTIONS = sorted({name.partition(".")[0] for name in KNOWN})
FIELDS = sorted(retraining_form())
values = st.one_of(
    st.integers(-1, 100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    texts("3", "0.5", "better", "labels.csv", "demo", "quantile", "[0, 50]"),
    st.lists(st.integers(0, 120), max_size=3),
)
names = st.one_of(
    st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.sampled_from(FIELDS), texts("epochs", "labls", "openlineage")
)
fields = st.sampled_from([name.partition(".")[2] for name in KNOWN] + ["x", "", "epoch"])
confs = st.dictionaries(names, values, max_size=3).flatmap(
    lambda conf: st.builds(
        lambda section, inner, free, more: {
            **conf,
            **({section: inner} if more & 1 else {}),
            **({"settings": free} if more & 2 else {}),
        },
        st.sampled_from(SECTIONS),
        st.dictionaries(fields, values, max_size=2),
        st.dictionaries(names, values, max_size=2),
        st.integers(0, 3),
    )
)


def expected(conf: dict[str, Any]) -> dict[str, Any]:
    """The settings that a conf means: `settings` counts most, and beside it null leaves the recipe's value."""
    found: dict[str, Any] = {}
    for each in (conf, conf.get("settings", {})):
        for name, value in each.items():
            inner = {name: value}
            if name in SECTIONS and isinstance(value, dict):
                inner = {f"{name}.{field}": one for field, one in value.items()}
            found |= {
                name: one for name, one in inner.items() if name in KNOWN and (one is not None or each is not conf)
            }
    return found


def same(real: Any, given: Any) -> bool:
    if isinstance(given, str) and not isinstance(real, str):
        return (
            str(real) == given
            or (isinstance(real, int | float) and float(given) == real)
            or real is (given.lower() in {"true", "yes", "on", "1", "t", "y"})
        )
    return bool(real == given)


def refused_by_themselves(conf: dict[str, Any], said: str) -> bool:
    """Whether the values of a conf are the reason: the recipe refuses them too, or the field has bounds of its own."""
    try:
        load_recipe(str(conf.get("recipe", "reference"))).with_overrides(expected(conf))
    except SettingsError:
        return True
    return "approval_hours = " in said


def check_conf(conf: dict[str, Any], tally: Tally) -> None:
    with tally.attempt("trigger_conf"):
        try:
            for name in conf.keys() & set(FIELDS):  # as Airflow does before there is a run
                copy.copy(FORM.get_param(name)).resolve(conf[name])
        except ParamValidationError:
            return
        try:
            run = SimpleNamespace(conf=conf)
            given: Any = {"params": FORM.dump() | conf, "dag": SimpleNamespace(params=FORM), "dag_run": run}
            refuse_invalid(given)
            passed = str(htmlsafe_json_dumps(changed_settings(given["params"])))
        except TaskFailedForGood as refusal:
            said = str(refusal)
            assert said.startswith("conf: "), said
            assert "\n" not in said, said
            assert "; " in said, said
            assert SECRET not in said, said
            assert len(said) < 4200
            strange = [name for name in conf if name not in {*KNOWN, *FIELDS}]
            strange += [name for name in conf.get("settings") or {} if name not in KNOWN]
            assert strange or refused_by_themselves(conf, said), (conf, said)
            return

        def act() -> Config:
            return DEMO.with_overrides(StageVariables.from_env({"AGE_SET": passed}).set, "AGE_SET")

        found, refused = outcome(act, "AGE_SET")
        wanted = expected(conf)
        if refused is None:
            plain = DEMO.to_dict()
            for name, value in wanted.items():
                section, _, field = name.partition(".")
                real = found.to_dict()[section][field]
                assert same(real, value), (name, value, real)
                plain[section][field] = real
            assert found.to_dict() == plain
        unknown = {name for name in conf if name not in {*KNOWN, *FIELDS, *SECTIONS, "openlineage"}}
        assert not unknown, conf


test_some_confs, test_many_confs = generated(8_000, few=15, conf=confs)(check_conf)
