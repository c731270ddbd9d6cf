"""Settings of Airflow's side: environment variables, typed and checked."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import ConfigDict, ValidationError

from age_tasks.config import Settings
from age_tasks.errors import SettingsError


class FromEnvironment(Settings):
    """Each field is a variable: `trainer_image` is `AGE_TRAINER_IMAGE`."""

    model_config = ConfigDict(regex_engine="python-re")  # the default one can't look ahead

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """The settings in `env`; an empty variable is as good as none.

        Raises:
            SettingsError: names each variable, its value and what it may be.
        """
        given = {name: value for name in cls.model_fields if (value := env.get(f"AGE_{name.upper()}"))}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("\n".join(cls._explain(problem) for problem in error.errors())) from None

    @classmethod
    def _explain(cls, problem: dict) -> str:
        if not problem["loc"]:
            return str(problem["ctx"]["error"])
        name = problem["loc"][0]
        return f"AGE_{name.upper()}={problem['input']!r} can't be; it is {cls.model_fields[name].description}"
