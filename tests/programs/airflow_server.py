"""Functions of `tests.programs`, executed one after the other in a process that imports Airflow once.

`python -m tests.programs.airflow_server` reads one JSON object per line: `call`, a name such as `runs.run_dag`;
`arguments`, its keyword arguments; `env`, the whole environment during the call. It writes one JSON object per line:
`result`, or `error` with the traceback. What the functions print goes to standard error.
"""

import json
import os
import sys
import traceback
from importlib import import_module
from typing import Any


def execute(call: str, arguments: dict[str, Any], env: dict[str, str]) -> Any:
    """The result of a function of `tests.programs` in this environment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        module, _, function = call.rpartition(".")
        return getattr(import_module(f"tests.programs.{module}"), function)(**arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow, and the tasks that it runs, print to standard output
    for line in sys.stdin:
        try:
            answer = {"result": execute(**json.loads(line))}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        sys.stdout.flush()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
