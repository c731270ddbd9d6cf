"""Importing this module imports everything that the stages in `PRELOADED` need.

TensorFlow's messages about the machine are suppressed while it does: from a background process, they would appear after
an error of the stage at work, and hide it.
"""

import gc
import os
from pathlib import Path

from age_tasks.cli.processes import PRELOADED
from age_tasks.pipeline import load_stage

_stderr = os.dup(2)  # TensorFlow writes to the descriptor, not to sys.stderr
try:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    for stage in PRELOADED:
        load_stage(stage)
    gc.freeze()  # a collection in a fork would visit, and so copy, all that was imported
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
