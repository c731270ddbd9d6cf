"""Airflow with its UI, started and watched: what is in its way is said in one line, and no process stays behind."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil

from age_tasks.errors import AgeTasksError, AirflowError, SettingsError
from age_tasks.store.disk import disk_full, is_full, require_room

STANDALONE = [sys.executable, "-m", "airflow", "standalone"]
# Measured with the DAGs of the project and without a run: 1.09 GB of memory, 3 MB on the disk.
NEEDED_MEMORY, NEEDED_DISK = 1_100_000_000, 100_000_000
PATIENCE_SECONDS, GIVE_UP_SECONDS, DAGS_SECONDS = 60, 600, 30
STOP_SECONDS, KILL_SECONDS, LOCK_SECONDS = 10, 5, 5
LOOPBACKS = ("localhost", "127.0.0.1", "::1")
CGROUPS = Path("/sys/fs/cgroup")
SERVING = {"scheduler", "dag-processor", "triggerer", "api-server", "standalone"}
# "airflow.exceptions.AirflowConfigException: …", also behind "scheduler  | "; the level of a line of Airflow's own log.
_ERROR = re.compile(r"([\w-]+ +\| )?([\w.]*(Error|Exception|Failure|Exit)\b|\S+ \[(error|critical) *\])")
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Stopped(Exception):
    """A person or the system ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def serve(env: Mapping[str, str], password: str) -> int:
    """Start Airflow, print where to log in once it answers, and wait until it is told to stop.

    Args:
        env: the environment of Airflow's processes; its database exists.
        password: that of `admin`.

    Returns:
        0 after Ctrl-C, and 128 and the number of another signal.

    Raises:
        AirflowError: Airflow, or one of its parts, has ended by itself; the message has the reason.
    """
    home, log = Path(env["AIRFLOW_HOME"]), Path(env["AIRFLOW_HOME"]) / "standalone.log"
    print(f"Airflow is starting; its log is {log}", flush=True)
    with _signals(), log.open("w") as file:
        # In a session of its own: Ctrl-C reaches it through this process, which then waits for all of its children.
        server = subprocess.Popen(STANDALONE, env=dict(env), stdout=file, stderr=file, start_new_session=True)
        try:
            _watch(server, env, password, log)
        except _Stopped as stopped:
            print("stopping Airflow", flush=True)
            return 0 if stopped.number == signal.SIGINT else 128 + stopped.number
        finally:
            _stop(server, home)


def refuse_what_is_in_the_way(env: Mapping[str, str]) -> None:
    """Look for what would let Airflow fail after a while, or serve nothing.

    Raises:
        AirflowError: the port is taken, too little memory is free, or the database is locked or damaged.
        SettingsError: the port or the database can't be opened by this user.
        DiskFullError: the disk of `AIRFLOW_HOME` is full.
    """
    _require_port(env)
    _require_database(env)
    require_memory()
    require_room(Path(env["AIRFLOW_HOME"]), "AIRFLOW_HOME", NEEDED_DISK)


@contextlib.contextmanager
def only_one(home: Path, address: str) -> Iterator[None]:
    """Hold the lock of the Airflow of a folder; the operating system releases it if the process dies.

    Raises:
        AirflowError: another process has it, or processes of an earlier Airflow are still there.
    """
    lock = _lock(home, {"pid": os.getpid(), "address": address})
    try:
        yield
    finally:
        os.close(lock)


def only_one_from_now_on(home: Path, command: Sequence[str]) -> None:
    """Hold the same lock for a command that executes tasks, until this process ends, whatever program it becomes.

    Args:
        command: the words after `airflow`, such as `dags test`.

    Raises:
        AirflowError: as `only_one`.
    """
    text = f"airflow {' '.join(command)}"
    cure = f"; both would execute the same tasks: stop it, or give `{text}` another AIRFLOW_HOME"
    os.set_inheritable(_lock(home, {"pid": os.getpid(), "command": text}, cure), True)


def _lock(home: Path, holder: Mapping[str, object], cure: str = "") -> int:
    """Take the lock of a folder's Airflow, and write down who has it; the descriptor of the file, not to be lost."""
    lock = os.open(_lock_file(home), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refuse_leftovers(home)
    except BlockingIOError:
        os.close(lock)
        raise AirflowError(f"{_already_running(home)}{cure}") from None
    except AirflowError:
        os.close(lock)
        raise
    os.truncate(lock, 0)
    os.write(lock, json.dumps(holder).encode())
    return lock


def refuse_leftovers(home: Path) -> None:
    """Refuse to start beside schedulers and other parts of an Airflow that has the same folder.

    Raises:
        AirflowError: there are such processes; the message has the command that ends them.
    """
    if found := _parts_in(home):
        names = ", ".join(f"{name} ({process.pid})" for process, name in found)
        pids = " ".join(str(process.pid) for process, _ in found)
        raise AirflowError(f"parts of an Airflow with AIRFLOW_HOME={home} still run: {names}; end them: kill {pids}")


def require_memory() -> None:
    """Check that Airflow's processes fit into the free memory.

    Raises:
        AirflowError: they do not; the system would end one of them after a while.
    """
    if (free := free_memory()) < NEEDED_MEMORY:
        raise AirflowError(
            f"too little memory: {free / 1e9:.1f} GB are free, Airflow needs {NEEDED_MEMORY / 1e9:.1f} GB, and a "
            "training about 1 GB more; end other programs, or raise the limit of this container"
        )


def free_memory(cgroups: Path = CGROUPS, mine: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that new processes can have: of this machine with its swap space, and of each limit of a container."""
    free: list[int] = [psutil.virtual_memory().available + psutil.swap_memory().free]
    for line in mine.read_text().splitlines() if mine.exists() else []:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, used, reclaimable = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, used = cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            reclaimable = "total_inactive_file"
        else:
            continue
        below = root / path.lstrip("/")
        for folder in (below, *below.parents):  # in a container, only the root may be visible
            with contextlib.suppress(OSError, ValueError):  # no such folder, or no limit: "max"
                stat = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                in_use = int((folder / used).read_text()) - int(stat.get(reclaimable, 0))
                free.append(int((folder / limit).read_text()) - in_use)
            if folder == root:
                break
    return max(min(free), 0)


def require_writable(home: Path) -> None:
    """Create the folder of Airflow, and check that this user can write there.

    Raises:
        SettingsError: it cannot be created or written.
        DiskFullError: its disk is full.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "prepare.lock").open("a"), _lock_file(home).open("a"):
            pass
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if is_full(error):
            raise disk_full(home, "AIRFLOW_HOME") from error
        raise SettingsError(
            f"AIRFLOW_HOME={str(home)!r}: Airflow's database and logs can't be written there ({error.strerror}); let "
            "this user write there, or choose another folder"
        ) from None


def known_problem(output: str, env: Mapping[str, str]) -> AgeTasksError | None:
    """What the output of an Airflow that has ended says, where it is one of the usual reasons."""
    home = Path(env["AIRFLOW_HOME"])
    if match := re.search(r"Can't locate revision identified by '(\w+)'", output):
        return AirflowError(
            f"the database of AIRFLOW_HOME={home} is of another version of Airflow (revision {match[1]}), not of "
            f"{version('apache-airflow')}: choose another AIRFLOW_HOME, or move that folder away to begin with an "
            "empty one; labels, runs and models are not kept there"
        )
    if re.search(r"file is not a database|database disk image is malformed", output):
        return AirflowError(
            f"the database {home / 'airflow.db'} is damaged: restore it, or move {home} away to begin with an empty "
            "one; labels, runs and models are not kept there"
        )
    if re.search(r"database (table )?is locked", output):
        holders = _holders(home / "airflow.db")
        return AirflowError(
            f"the database {home / 'airflow.db'} is locked by another process"
            f"{f' ({holders})' if holders else ''}: end it, then start again"
        )
    if re.search(r"No space left on device|disk is full|Disk quota exceeded", output):
        return disk_full(home, "AIRFLOW_HOME")
    if match := re.search(r"attempt to write a readonly database|unable to open database file", output):
        return SettingsError(
            f"AIRFLOW_HOME={str(home)!r}: its database can't be opened for writing ({match[0]}); let this user write "
            f"there, or choose another folder (`sql_alchemy_conn` in {home / 'airflow.cfg'} names the file)"
        )
    port = env.get("AIRFLOW__API__PORT", "")
    if re.search(rf"\b{port}\)?: address already in use", output):
        return _taken(int(port))
    if re.search(r"MemoryError|Cannot allocate memory", output):
        return AirflowError(f"no memory is left; Airflow needs {NEEDED_MEMORY / 1e9:.1f} GB: end other programs")
    return None


def last_error(output: str, otherwise: str = "") -> str:
    """The line of a program's output that is most likely the reason for its end.

    Args:
        otherwise: the result where no line looks like an error; by default the last line.
    """
    lines = [line.strip() for line in re.sub(r"\x1b\[[\d;]*m", "", output).splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or [otherwise or (lines or ["it printed nothing"])[-1]])[-1][:500]


def _watch(server: subprocess.Popen[bytes], env: Mapping[str, str], password: str, log: Path) -> NoReturn:
    """Wait for the end of Airflow, which is an error; meanwhile print where it is, and what its DAGs do."""
    port = int(env["AIRFLOW__API__PORT"])
    address = f"http://localhost:{port}"
    names: dict[int, str] = {}
    started = time.monotonic()
    welcomed = told = dags_told = False
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise _ended("Airflow", "", f"exit code {server.wait(1)}", log, env)
        for part in _ended_parts(server, names):
            raise _ended(f"Airflow's {part}", part, "the others were stopped", log, env)
        seconds = time.monotonic() - started
        if (
            not welcomed
            and _listens(server, int(env["AIRFLOW__API__PORT"]))
            and _get(f"{address}/api/v2/monitor/health")
        ):
            _get(f"{address}/execution/health")  # built on the first request; the first task would wait for it
            print(f"Open {address} and log in as admin with the password {password}. Ctrl-C stops it.", flush=True)
            welcomed, started = True, time.monotonic()
        elif welcomed and not dags_told:
            text = _dags(address, password)
            dags_told = bool(text) or seconds > DAGS_SECONDS
            print(text, end="", flush=True)
        elif not welcomed and not told and seconds > PATIENCE_SECONDS:
            print(f"Airflow does not answer yet, after {seconds:.0f} s: a busy machine, or see {log}", flush=True)
            told = True
        elif not welcomed and seconds > GIVE_UP_SECONDS:
            raise AirflowError(
                f"Airflow did not answer at {address} within {seconds:.0f} s; its log is {log}; end other programs, "
                "and start it again"
            )


def _ended(what: str, part: str, how: str, log: Path, env: Mapping[str, str]) -> AgeTasksError:
    output = log.read_text(errors="replace")[-100_000:]
    own = "\n".join(line for line in output.splitlines() if line.startswith(part))
    if problem := known_problem(own, env):
        return problem
    # The ports of the servers of logs are taken by another Airflow of this machine: they are not needed here.
    own = "\n".join(line for line in own.splitlines() if "address already in use" not in line)
    reason = last_error(own, "it gives no reason, as a process that was killed, by hand or for lack of memory")
    return AirflowError(f"{what} has ended ({how}): {reason}; its log is {log}; start it again when that is mended")


def _ended_parts(server: subprocess.Popen[bytes], names: dict[int, str]) -> list[str]:
    """The names of the parts that have ended since they were seen; `airflow standalone` itself does not notice."""
    ended = []
    with contextlib.suppress(psutil.Error):
        for part in psutil.Process(server.pid).children():
            with contextlib.suppress(psutil.Error):
                if part.status() == psutil.STATUS_ZOMBIE:
                    ended.append(names.get(part.pid, "part"))
                else:
                    words = {word.replace("_", "-") for word in part.cmdline()}
                    names[part.pid] = next(iter(words & SERVING), names.get(part.pid, "part"))
    return ended


def _listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether a process of this Airflow listens at the port: another program may have been faster."""
    for process in _family(server.pid):
        with contextlib.suppress(psutil.Error):
            listening = (each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
            if any(each.laddr.port == port for each in listening):
                return True
    return False


def _stop(server: subprocess.Popen[bytes], home: Path) -> None:
    """Stop Airflow as Ctrl-C does; then end what is still there, tasks that run included. A second signal hurries."""
    family = _family(server.pid)
    with contextlib.suppress(_Stopped):
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
    family = [*dict.fromkeys([*family, *_family(server.pid), *(part for part, _ in _parts_in(home))])]
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in family:
            with contextlib.suppress(psutil.Error):
                end(process)
        with contextlib.suppress(_Stopped):
            _, family = psutil.wait_procs(family, KILL_SECONDS)
    server.wait()


def _family(session: int) -> list[psutil.Process]:
    """The processes of a session, and their descendants: a stage has a session of its own."""
    found: dict[psutil.Process, None] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session:
                found |= dict.fromkeys([process, *process.children(recursive=True)])
    return list(found)


def _parts_in(home: Path) -> list[tuple[psutil.Process, str]]:
    """The processes of this user that serve an Airflow in a folder, and which parts they are."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            if not any(Path(word).name == "airflow" for word in words) or not (names := SERVING & set(words)):
                continue
            if process.environ().get("AIRFLOW_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, next(iter(names))))
    return found


def _lock_file(home: Path) -> Path:
    return home / "up.lock"


def _already_running(home: Path) -> str:
    try:
        holder = json.loads(_lock_file(home).read_text())
        pid = holder["pid"]
        if "command" in holder:
            return f"`{holder['command']}` runs in {home}; wait for its end, or end it: kill {pid}"
        address = holder["address"]
    except (OSError, ValueError, KeyError):  # it starts at this moment
        return f"Airflow is started already with AIRFLOW_HOME={home}; Ctrl-C in its terminal stops it"
    return f"Airflow runs already in {home}, at {address}; Ctrl-C in its terminal stops it, or: kill {pid}"


def _require_database(env: Mapping[str, str]) -> None:
    database = Path(env["AIRFLOW_HOME"]) / "airflow.db"
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
            connection.execute("begin immediate")
            connection.rollback()
    except sqlite3.Error as error:
        raise known_problem(str(error), env) or AirflowError(
            f"the database {database} can't be read: {error}; check the disk, or choose another AIRFLOW_HOME"
        ) from None


def _require_port(env: Mapping[str, str]) -> None:
    port, host = int(env["AIRFLOW__API__PORT"]), env.get("AIRFLOW__API__HOST") or "0.0.0.0"
    if any(_answers(each, port) for each in LOOPBACKS):  # also one that listens at one address only
        raise _taken(port)
    try:
        _bind(host, port)
    except PermissionError:
        raise SettingsError(f"AGE_PORT={port}: this user can't open that port; choose one above 1023") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _taken(port) from None
        raise SettingsError(
            f"AIRFLOW__API__HOST={host!r} is no address of this machine ({error.strerror}); correct or unset it"
        ) from None


def _taken(port: int) -> AirflowError:
    free = next((each for each in range(port + 1, 65536) if _is_free(each)), 8080)
    holder = ""
    with contextlib.suppress(psutil.Error, OSError):
        listening = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
        pid = next((each.pid for each in listening if each.laddr.port == port and each.pid), None)
        holder = f" by {psutil.Process(pid).name()} (process {pid})" if pid else ""
    return AirflowError(f"port {port} is taken{holder}: end that program, or choose another port, as AGE_PORT={free}")


def _is_free(port: int) -> bool:
    try:
        _bind("0.0.0.0", port)
    except OSError:
        return False
    return not any(_answers(each, port) for each in LOOPBACKS)


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((host, port))
        tried.listen(1)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _holders(path: Path) -> str:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(each.path == str(path) for each in process.open_files()):
                found.append(f"{process.name()}, process {process.pid}")
    return "; ".join(found)


def _dags(address: str, password: str) -> str:
    """A line on the DAGs that are paused, and one for each that can't be read; empty as long as none was read."""
    try:
        token = _open(f"{address}/auth/token", {"username": "admin", "password": password})["access_token"]
        dags = _open(f"{address}/api/v2/dags?limit=1000", token=token)["dags"]
        errors = _open(f"{address}/api/v2/importErrors?limit=1000", token=token)["import_errors"]
    except (OSError, ValueError, KeyError):
        return ""
    lines = [f"{each['filename']} can't be read: {last_error(each['stack_trace'])}" for each in errors]
    if paused := [dag["dag_id"] for dag in dags if dag["is_paused"]]:
        lines.append(
            f"Paused: {', '.join(paused)}. New labels and the schedule start nothing until a DAG is turned on, in the "
            f"UI or with: {Path(sys.executable).parent / 'age-tasks'} airflow dags unpause {paused[0]}"
        )
    elif dags:
        lines.append(f"Turned on: {', '.join(dag['dag_id'] for dag in dags)}.")
    return "".join(f"{line}\n" for line in lines)


def _get(url: str) -> bool:
    try:
        with NO_PROXY.open(url, timeout=20) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _open(url: str, body: Mapping[str, str] | None = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with NO_PROXY.open(request, timeout=20) as response:
        return json.load(response)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal raise an exception; what was ignored, as by nohup, stays ignored."""

    def stop(number: int, _: FrameType | None) -> None:
        raise _Stopped(number)

    handled = [
        each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN
    ]
    before = {each: signal.signal(each, stop) for each in handled}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
