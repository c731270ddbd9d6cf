"""A Swift that keeps its data and takes its key from the environment, for the compose stack: listens on port 8333."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.s3_server import SERVICES, make_bucket, write_configuration

PORT = 8333


def main(folder: Path) -> int:
    """Serve until one of the servers ends."""
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    write_configuration(folder, [6001, 6002, 6003, PORT, 6004], key, secret, address="0.0.0.0")
    command = [sys.executable, "-m", "tests.programs.swift_server", str(folder)]
    servers = [
        subprocess.Popen([*command, str(folder / f"{name}.conf"), f"{name}-server"]) for name in (*SERVICES, "proxy")
    ]
    variables = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1"}
    make_bucket(variables | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}"}, servers)
    while all(server.poll() is None for server in servers):
        time.sleep(0.5)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path("/data")))
