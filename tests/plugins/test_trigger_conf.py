"""What the conf of a run may contain: fields and settings are applied, any other name is refused."""

from typing import Any, cast

import pytest
from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
from age_retraining_plugin.trigger_conf import changed_settings, refuse_invalid

from age_tasks.config import Config, known_settings
from tests.support.trigger_conf import applied, context


@pytest.mark.parametrize("conf", [None, {}, {"openlineage": {"parentRunId": "x"}}, {"labels": "x.csv", "again": True}])
def test_runs_without_settings_start(conf: dict[str, Any] | None):
    """Also those that Airflow starts by schedule or for an asset."""
    refuse_invalid(context(conf))
    assert changed_settings(context(conf)["params"]) == {}


@pytest.mark.parametrize("name", known_settings())
def test_every_setting_is_taken_by_its_name_and_in_its_section(name: str):
    section, _, field = name.partition(".")
    value = Config().to_dict()[section][field]
    assert applied({name: value}) == applied({section: {field: value}}) == applied({"settings": {name: value}})
    assert applied({name: value}) == {name: value}
    Config().with_overrides(applied({name: value}))


@pytest.mark.parametrize("conf", [{"finetune.seed": None}, {"finetune": {"seed": None}}])
def test_null_leaves_the_value_of_the_recipe(conf: dict[str, Any]):
    assert applied(conf) == {}


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"epochs": 3}, "no field or setting is called 'epochs'. Did you mean baseline.epochs or finetune.epochs?"),
        ({"labls": "x"}, "'labls'. Did you mean labels?"),
        ({"Labels": "x"}, "'Labels'. Did you mean labels?"),
        ({" finetune.seed": 7}, "' finetune.seed'. Did you mean finetune.seed?"),
        ({"Finetune.Seed": 7}, "'Finetune.Seed'. Did you mean finetune.seed?"),
        ({"finetune_seed": 7}, "'finetune_seed'. Did you mean finetune.seed?"),
        ({"finetune": {"epoch": 7}}, "'finetune.epoch'. Did you mean finetune.epochs?"),
        ({"Finetune": {"epochs": 7}}, "no field or setting is called 'Finetune'."),
        ({"finetune": 7}, "'finetune' is a section: write its settings as an object"),
        ({"finetune": None}, "'finetune' is a section"),
        ({"setting": {"finetune.seed": 7}}, "'setting'. Did you mean settings?"),
        ({"settings": {"finetune.sed": 7}}, "'finetune.sed'. Did you mean finetune.seed or "),
        ({"settings": {"labels": "x"}}, "'labels' is a field: write it beside 'settings'"),
        ({"views.training": 2}, "'views.training' was renamed to augmentation.train_augmentations"),
        (
            {"": 1},
            "no field or setting is called ''. The trigger form shows the fields, `age-tasks settings` the settings",
        ),
        ({"zzz": None}, "no field or setting is called 'zzz'. The trigger form"),
        ({"a\nb": 1}, r"no field or setting is called 'a\nb'."),
        ({"finetune.seed": 7, "finetune": {"seed": 8}}, "'finetune.seed' is given twice, as 7 and as 8"),
        ({"settings": {"finetune.seed": 7, "finetune": {"seed": 7}}}, "'finetune.seed' is given twice"),
    ],
)
def test_a_name_that_nothing_reads_is_refused_with_what_it_may_have_meant(conf: dict[str, Any], says: str):
    with pytest.raises(TaskFailedForGood) as refusal:
        applied(conf)
    text = str(refusal.value)
    assert text.startswith("conf: ")
    assert says in text
    assert text.endswith("; nothing was computed; correct the conf and trigger the run again")
    assert "\n" not in text


def test_free_settings_stand_over_fields():
    assert applied({"finetune.epochs": 5, "finetune.seed": 1, "settings": {"finetune": {"epochs": 3}}}) == {
        "finetune.epochs": 3,
        "finetune.seed": 1,
    }


def test_a_conf_that_airflow_does_not_apply_is_refused():
    """`core.dag_run_conf_overrides_params` is off: the params are those of the form."""
    params = context(None)["params"]
    with pytest.raises(TaskFailedForGood, match=r"^conf: 'finetune.epochs' would be ignored: .* switch it on"):
        refuse_invalid(context({"finetune.epochs": 3}, cast(dict[str, Any], params)))
