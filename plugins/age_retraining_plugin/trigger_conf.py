"""What somebody gives a run of a DAG: the fields of its form and, for the retraining, any setting by its name.

Airflow keeps names in the conf that it does not know, and no task would look at them; and it knows no bounds of numbers
that are typed as text. So the first task refuses both.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow.sdk import Context

from age_retraining_plugin.runtimes.outcome import TaskFailedForGood
from age_tasks.config import FORMER, did_you_mean, known_settings, load_recipe
from age_tasks.errors import SettingsError

OF_AIRFLOW = frozenset({"openlineage"})  # what Airflow's own operators add to the conf of a run that they trigger
SETTINGS = "settings"  # the field of the form for free settings
LISTS = " The trigger form shows the fields, `age-tasks settings` the settings"
WAY_OUT = "nothing was computed; correct the conf and trigger the run again"


def refuse_invalid(context: Context) -> None:
    """Fail the first task of a run whose conf can't be applied; its `pre_execute`.

    Raises:
        TaskFailedForGood: names each unknown name and what it may have meant, else each value that is out of its
            bounds.
    """
    params, form = context["params"], context["dag"].params
    dag_run = context.get("dag_run")
    conf = (dag_run and dag_run.conf) or {}
    given = {name: value for name, value in conf.items() if name not in OF_AIRFLOW}
    if unread := [name for name, value in given.items() if params.get(name) != value]:
        raise _refusal(
            f"{', '.join(map(repr, unread))} would be ignored: dag_run_conf_overrides_params is off in this "
            "Airflow; switch it on, or trigger the run without a conf"
        )
    titles = {name: str(form.get_param(name).schema.get("title", "")) for name in form}
    schemas = {name: form.get_param(name).schema for name in form}
    if problems := unknown_names(params, titles) or [*numbers_out_of_bounds(params, schemas), *wrong_settings(params)]:
        raise _refusal(f"{'; '.join(problems)}; {WAY_OUT}")


def numbers_out_of_bounds(params: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with numbers that were typed as text into fields that are no settings, a text each.

    Args:
        params: the conf over the defaults of the form.
        schemas: of the fields of the form, by name.
    """
    for name, schema in schemas.items():
        typed = params[name]
        if not isinstance(typed, str) or not {"number", "integer"} & {*schema["type"]} or name in known_settings():
            continue
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema["maximum"]
        if not low <= float(typed) <= high or float(typed) == schema.get("exclusiveMinimum"):
            yield f"{name} = {typed!r}: must be {'at least' if 'minimum' in schema else 'above'} {low}, at most {high}"


def wrong_settings(params: Mapping[str, Any]) -> list[str]:
    """What is wrong with the settings in a conf, a text each; nothing where the recipe can't be read here.

    Args:
        params: the conf over the defaults of the form.
    """
    if SETTINGS not in params:
        return []
    try:
        recipe = load_recipe(params["recipe"])
    except SettingsError:
        return []  # the first stage says so, where it is executed
    try:
        recipe.with_overrides(changed_settings(params), source="")
    except SettingsError as error:
        return [problem.strip() for problem in error.args]
    return []


def unknown_names(params: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """What is wrong with the names in a conf, a text each.

    Args:
        params: the conf over the defaults of the form.
        titles: of the fields of the form, by name; an empty text where there is none.
    """
    rest = {name: value for name, value in params.items() if name not in {*titles, *OF_AIRFLOW}}
    if SETTINGS not in titles:  # a form without settings
        return [_unknown_field(name, titles) for name in rest]
    known = known_settings()
    problems = [_unknown_setting(name, [*titles, *known]) for name in by_dotted_name(rest) if name not in known]
    for name in by_dotted_name(params[SETTINGS]):
        if name not in known:
            beside = f"{name!r} is a field: write it beside 'settings'" if name in titles else ""
            problems.append(beside or _unknown_setting(name, known))
    return problems


def changed_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a conf replaces: those of its fields and names that are not null, and over them the free ones.

    A setting is given by its dotted name, or as in a recipe: `{"finetune": {"seed": 7}}`.

    Args:
        params: the conf over the defaults of the form.

    Raises:
        TaskFailedForGood: a setting is given in both ways.
    """
    known = known_settings()
    given = {name: value for name, value in params.items() if value is not None}
    named = {name: value for name, value in by_dotted_name(given).items() if name in known and value is not None}
    return {**named, **by_dotted_name(params[SETTINGS])}


def by_dotted_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with each section, `{"finetune": {"seed": 7}}`, replaced by its settings: `{"finetune.seed": 7}`.

    Raises:
        TaskFailedForGood: a setting is given in both ways.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        section = isinstance(value, Mapping) and name in _sections()
        inner = {f"{name}.{field}": each for field, each in value.items()} if section else {name: value}
        if twice := flat.keys() & inner.keys():
            dotted = min(twice)
            shown = f"as {flat[dotted]!r} and as {inner[dotted]!r}"
            raise _refusal(f"{dotted!r} is given twice, {shown}; {WAY_OUT}")
        flat |= inner
    return flat


def _refusal(text: str) -> TaskFailedForGood:
    return TaskFailedForGood(str(SettingsError(f"conf: {text}")))  # one line, whatever names and values contain


def _sections() -> set[str]:
    return {name.partition(".")[0] for name in known_settings()}


def _unknown_field(name: str, titles: Mapping[str, str]) -> str:
    by_title = {title.casefold(): field for field, title in titles.items()}
    guess = f" Did you mean {by_title[name.casefold()]}?" if name.casefold() in by_title else did_you_mean(name, titles)
    return f"no field is called {name!r}.{guess} There are: {', '.join(titles)}"


def _unknown_setting(name: str, choices: Collection[str]) -> str:
    if former := FORMER.get(name) or FORMER.get(name.partition(".")[0]):
        return f"{name!r} was {former}"
    if name in _sections():
        return f'{name!r} is a section: write its settings as an object, such as {{"finetune": {{"epochs": 3}}}}'
    return f"no field or setting is called {name!r}.{did_you_mean(name, choices) or LISTS}"
