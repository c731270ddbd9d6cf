"""The options that choose settings, and the commands that list settings and environment variables."""

from typing import Annotated

import typer

from age_tasks.cli.command import SETTINGS, command
from age_tasks.config import Config, describe_settings, load_recipe, parse_overrides, recipe_names
from age_tasks.environment import StageVariables, describe_environment, environment_problems
from age_tasks.errors import SettingsError

Recipe = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(recipe_names())}, or the path of a .yaml file; default: the run's own, or reference for a "
        "new run. [env var: AGE_RECIPE]"
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.SETTING=VALUE",
        help="Replace one setting; may be repeated. `age-tasks settings` lists them. [env var: AGE_SET, a JSON object]",
    ),
]


def chosen_recipe(recipe: str | None) -> str:
    """The recipe of the option, else that of `AGE_RECIPE`; empty: none is chosen."""
    return recipe or StageVariables.from_env().recipe


def with_overrides(config: Config, assignments: list[str] | None) -> Config:
    """The settings with those of `AGE_SET` replaced, then those of `--set`.

    Raises:
        SettingsError: names the source of the value and the setting.
    """
    config = config.with_overrides(StageVariables.from_env().set, "AGE_SET")
    return config.with_overrides(parse_overrides(assignments or []), "--set")


def recipe_config(recipe: str | None) -> Config:
    """The settings of a recipe, by default `reference`."""
    return load_recipe(chosen_recipe(recipe) or "reference")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""

    @command(app, "settings", SETTINGS)
    def settings() -> int:
        """List every setting with its default."""
        for name, default, description in describe_settings():
            print(f"{name:<36} {default:<14} {description}")
        return 0

    @command(app, "environment", SETTINGS)
    def environment() -> int:
        """List every environment variable with its default; tell which values are invalid."""
        for variable in describe_environment():
            print(f"{variable.name:<30} {variable.default:<24} {variable.description}")
        if problems := environment_problems():
            raise SettingsError(*problems)
        return 0
