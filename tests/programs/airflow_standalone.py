"""`airflow standalone`, told to end when the tests do."""

import os
import signal
import sys

from tests.programs.parent_death import end_with_parent

if __name__ == "__main__":
    end_with_parent(signal.SIGINT)
    os.execv(sys.executable, [sys.executable, "-m", "airflow", "standalone"])
