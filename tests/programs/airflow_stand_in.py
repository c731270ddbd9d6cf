"""Behaves as `airflow standalone` in what `age-tasks up` sees of it, but is there at once.

    python -m tests.programs.airflow_stand_in up            `age-tasks up` with this program in place of Airflow
    python -m tests.programs.airflow_stand_in standalone    what it starts

The variable `STAND_IN` chooses what happens: `serves`; `ends`: it ends with an error; `part ends`: one of its parts
does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

ANSWERS = {
    "/auth/token": {"access_token": "token"},
    "/api/v2/dags?limit=1000": {"dags": [{"dag_id": "age_retraining", "is_paused": True}]},
    "/api/v2/importErrors?limit=1000": {
        "import_errors": [{"filename": "age_rollback.py", "stack_trace": "Traceback\n  …\nValueError: no such thing\n"}]
    },
}


class Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(ANSWERS.get(self.path, {})).encode())


def up() -> int:
    from age_tasks.cli import airflow, airflow_server
    from age_tasks.cli.app import main

    airflow_server.STANDALONE = [sys.executable, "-m", __spec__.name, "standalone"]
    airflow_server.KILL_SECONDS = 0.5
    airflow.prepare = lambda env: 0
    return main(["up"])


def standalone() -> int:
    what = os.environ["STAND_IN"]
    if what == "ends":
        print("Traceback (most recent call last):\nairflow.exceptions.AirflowConfigException: nonsense in [core]")
        return 1
    stubborn = [subprocess.Popen([sys.executable, "-m", __spec__.name, "stage"], start_new_session=True)]
    parts = [subprocess.Popen([sys.executable, "-m", __spec__.name, name]) for name in ("scheduler", "api-server")]
    try:
        time.sleep(600)
    except KeyboardInterrupt:  # as Airflow does, it asks its parts to end, and waits for them
        for part in parts:
            part.terminate()
    return len(stubborn) - 1


def part(name: str) -> None:
    if name == "stage":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if name == "api-server":
        HTTPServer(("127.0.0.1", int(os.environ["AIRFLOW__API__PORT"])), Answers).serve_forever()
    time.sleep(1.5 if os.environ["STAND_IN"] == "part ends" and name == "scheduler" else 600)
    print("scheduler  | sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) no such table: job")


if __name__ == "__main__":
    word = sys.argv[1]
    sys.exit(up() if word == "up" else standalone() if word == "standalone" else part(word))
