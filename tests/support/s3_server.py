"""A real S3 server for tests: OpenStack Swift with its S3 API, on one device in a folder.

`python -m tests.support.s3_server` serves until Ctrl-C and prints the variables to set.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.ports import free_ports

PROJECT = Path(__file__).resolve().parents[2]
SERVICES = ("account", "container", "object")
KEYS = {
    "AWS_ACCESS_KEY_ID": "test:tester",
    "AWS_SECRET_ACCESS_KEY": "hush-canary-s3",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "age"
STARTUP_SECONDS = 60

COMMON = "[DEFAULT]\nbind_ip = {address}\nbind_port = {port}\nbind_timeout = 2\nworkers = 0\nswift_dir = {folder}\n"
STORAGE = COMMON + "devices = {folder}/devices\nmount_check = false\n[pipeline:main]\npipeline = {name}-server\n"
STORAGE += "[app:{name}-server]\nuse = egg:swift#{name}\n"
PROXY = (
    COMMON
    + """
[pipeline:main]
pipeline = catch_errors healthcheck cache s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{nobody}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
)


class Served(dict[str, str]):
    """The variables that reach the server; `stop` ends the process that takes requests, `start` starts it again."""

    stop: Callable[[], None]
    start: Callable[[], None]


class NotPossibleHere(RuntimeError):
    """This machine lacks something that the server needs."""


@contextlib.contextmanager
def serve_s3(folder: Path) -> Iterator[Served]:
    """Serve S3 from an empty `folder`, with an empty bucket `age`; yields the variables that reach it.

    Raises:
        RuntimeError: a server ended or does not answer in time; the message holds the log.
        NotPossibleHere: the folder's file system has no extended attributes.
    """
    *ports, proxy, nobody = free_ports(5)
    write_configuration(folder, [*ports, proxy, nobody], KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"])
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w"))
        servers: list[subprocess.Popen] = []

        def launch(name: str) -> None:
            arguments = [str(folder), str(folder / f"{name}.conf"), f"{name}-server"]
            command = [sys.executable, "-m", "tests.programs.swift_server", *arguments]
            servers.append(subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True))
            stack.callback(_stop, servers[-1])

        for name in (*SERVICES, "proxy"):
            launch(name)
        variables = Served(KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy}", "no_proxy": "127.0.0.1"})
        variables.stop, variables.start = lambda: _stop(servers[-1]), lambda: launch("proxy")
        make_bucket(variables, servers, folder / "log")
        yield variables


def write_configuration(folder: Path, ports: list[int], key: str, secret: str, address: str = "127.0.0.1") -> None:
    """The configuration of the servers, and the devices that they write to; what is in the devices stays.

    Args:
        ports: of the account, container and object servers, of the proxy, and one that nothing listens on.
        key: `account:user`.
        address: that the proxy listens on; the other servers answer this machine only.
    """
    _require_xattr(folder)
    *storage, proxy, nobody = ports
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    rings = [sys.executable, "-W", "ignore", "-m", "tests.programs.swift_rings", str(folder), "d1", *map(str, storage)]
    subprocess.run(rings, check=True, capture_output=True, cwd=PROJECT)
    for name, port in zip(SERVICES, storage, strict=True):
        text = STORAGE.format(name=name, port=port, folder=folder, address="127.0.0.1")
        (folder / f"{name}.conf").write_text(text)
    user = key.replace(":", "_")
    text = PROXY.format(port=proxy, nobody=nobody, folder=folder, address=address, user=user, secret=secret)
    (folder / "proxy.conf").write_text(text)


def _require_xattr(folder: Path) -> None:
    """Swift keeps an object's name, type and checksum in its file's extended attributes."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            os.setxattr(file.name, "user.swift", b"")
        except (AttributeError, OSError) as error:
            raise NotPossibleHere(
                f"no extended attributes in {folder} ({error}); choose another with TMPDIR"
            ) from error


def make_bucket(variables: dict[str, str], servers: list[subprocess.Popen], log: Path | None = None) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5, proxies={}),
    )
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except client.exceptions.BucketAlreadyOwnedByYou:
            return  # the servers have been restarted
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline or any(server.poll() is not None for server in servers):
                said = log.read_text()[-3000:] if log else ""
                raise RuntimeError(f"the S3 server does not answer ({error}):\n{said}") from error
            time.sleep(0.5)


def _stop(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="age-s3-") as folder,
        contextlib.suppress(KeyboardInterrupt),
        serve_s3(Path(folder)) as variables,
    ):
        print("\n".join(f"export {name}={value}" for name, value in variables.items()))
        print(f"export AGE_STORE=s3://{BUCKET}/store", flush=True)
        signal.pause()


if __name__ == "__main__":
    _main()
