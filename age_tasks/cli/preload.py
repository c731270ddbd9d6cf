"""Importing this loads all that the stages from the baseline on import.

TensorFlow's remarks about the machine are held back meanwhile: in the background, they would come after an error of the
stage at work, and bury it.
"""

import os
from pathlib import Path

from age_tasks.cli.processes import LOADED
from age_tasks.pipeline import load_stage

_stderr = os.dup(2)  # TensorFlow writes to the descriptor, not to sys.stderr
try:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    for stage in LOADED:
        load_stage(stage)
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
