"""The program that writes `.env` of the compose stack; its folder is no package."""

import importlib.util

from age_tasks.environment import PROJECT

_spec = importlib.util.spec_from_file_location("make_env", PROJECT / "docker" / "make_env.py")
make_env = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_env)
