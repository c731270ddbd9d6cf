"""Imported by a server of `age_tasks.cli.forks`, it replaces the command line: print the process's number, and wait."""

import os
import time

from age_tasks.cli import app


def main(arguments: list[str]) -> int:
    print(os.getpid(), *arguments, flush=True)
    time.sleep(60)
    return 0


app.main = main
