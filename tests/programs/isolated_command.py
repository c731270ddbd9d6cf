"""A command in a child process, as `age-tasks run` has one for each stage: it prints its number, and waits."""

import os
import sys
import time

from age_tasks.cli import processes


def wait(arguments: list[str]) -> int:
    print(os.getpid(), file=sys.stderr, flush=True)
    time.sleep(60)
    return 0


if __name__ == "__main__":
    processes.GRACE_SECONDS = 0.1
    print(processes.run_isolated(wait, sys.argv[1:], os.environ))
