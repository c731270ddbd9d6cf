"""Hold a lock until the process is killed: `python -m tests.programs.hold_lock FILE`."""

import sys
import time
from pathlib import Path

from age_tasks.runs.lock import exclusive

if __name__ == "__main__":
    with exclusive(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(600)
