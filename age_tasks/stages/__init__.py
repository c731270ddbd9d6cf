"""The stages, one module each, in the order of the DAG, and what each one's result depends on."""

import importlib
from dataclasses import dataclass
from typing import Protocol

from age_tasks.config import Config
from age_tasks.runs.run import Run, Summary
