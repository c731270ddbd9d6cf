"""A Kubernetes API for tests, over HTTP: pods are created, read, listed, patched and deleted, their logs are followed.

The command of a pod runs as a process of this machine, with the pod's environment and nothing else of this one's; its
volumes are folders. As a namespace with the restricted Pod Security Standard does, the API refuses pods that break it,
and pods that are not as the published schemas say.

with kubernetes_api(folder) as cluster:
    ...  # AIRFLOW_CONN_KUBERNETES_DEFAULT=cluster.connection
    cluster.evict(cluster.wait_for_pod())
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

from age_tasks.environment import PROJECT
from tests.support.pod_security import violations

VERSION = "1.34"
TOKEN = "hush-token-of-airflow"
MESSAGE_BYTES, FALLBACK_BYTES = 4096, 2048  # of a termination message, as the kubelet cuts it
Json = dict[str, Any]


class Request(NamedTuple):
    """What is asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Json


class Refusal(Exception):
    """An answer other than success, as a Status object."""

    def __init__(self, code: int, reason: str, message: str = "") -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def body(self) -> Json:
        about = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return about | {"code": self.code, "reason": self.reason, "message": self.message or self.reason}


class Pod:
    """A pod whose first container is a process.

    Args:
        manifest: as it was created.
        folder: for its volumes.
        claims: the folder of all persistent volume claims.
        secrets: the Secrets by name.
    """

    def __init__(self, manifest: Json, folder: Path, claims: Path, secrets: dict[str, dict[str, str]]):
        self.manifest, self.folder = manifest, folder
        self.lines: list[tuple[datetime, bytes]] = []
        self.removed = False
        self.status: Json = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
        self._told, self._lock = folder / "termination-log", threading.Lock()
        self._places = {"/dev/termination-log": str(self._told)}
        self._process: subprocess.Popen[bytes] | None = None
        spec = manifest["spec"]
        self._container = spec["containers"][0]
        for volume in spec.get("volumes", []):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            place = claims / claim if claim else folder / "volumes" / volume["name"]
            place.mkdir(parents=True, exist_ok=True)
            for mount in self._container.get("volumeMounts", []):
                if mount["name"] == volume["name"]:
                    self._places[mount["mountPath"]] = str(place)
        self._secrets = secrets

    @property
    def name(self) -> str:
        return self.manifest["metadata"]["name"]

    @property
    def ended(self) -> bool:
        return self.status["phase"] in {"Succeeded", "Failed"}

    @property
    def env(self) -> dict[str, str]:
        """What the process sees; `env` wins over `envFrom`, and the last entry of a name over earlier ones."""
        own = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "PYTHONPATH": str(PROJECT)}  # of this machine
        env = {"HOME": "/tmp"}
        for source in self._container.get("envFrom", []):
            env |= self._secrets[source["secretRef"]["name"]]
        env |= {entry["name"]: entry.get("value", "") for entry in self._container.get("env", [])}
        return own | {name: self._here(value) for name, value in env.items()}

    def start(self) -> None:
        command = [self._here(word) for word in (*self._container["command"], *self._container.get("args", []))]
        self._told.touch()
        self._process = subprocess.Popen(
            command,
            env=self.env,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.status["phase"] = "Running"
        self._set_state(running={"startedAt": _now()})
        threading.Thread(target=self._follow, daemon=True).start()

    def end(self, **status: Any) -> None:
        """Kill its process; the status says why."""
        with self._lock:
            if not self.ended:
                self.status |= status
                self._kill()

    def remove(self) -> None:
        """Forget it, as after a deletion."""
        self.removed = True
        self._kill()

    def _kill(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):  # the group is its alone
                os.killpg(self._process.pid, signal.SIGKILL)

    def _follow(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append((datetime.now(UTC), line.rstrip(b"\n")))
        code = self._process.wait()
        code = 128 - code if code < 0 else code
        with self._lock:
            self._set_state(terminated=self._state(code))
            self.status["phase"] = "Failed" if code or "reason" in self.status else "Succeeded"

    def _state(self, code: int) -> Json:
        message = self._told.read_bytes()[-MESSAGE_BYTES:]
        if code and not message and self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = b"\n".join(line for _, line in self.lines[-80:])[-FALLBACK_BYTES:]
        reason = self.status.pop("stateReason", "Error" if code else "Completed")
        state = {"exitCode": code, "reason": reason, "finishedAt": _now(), "message": message.decode(errors="replace")}
        return state if message else {name: value for name, value in state.items() if name != "message"}

    def _set_state(self, **state: Json) -> None:
        about = {"name": self._container["name"], "image": self._container["image"], "imageID": "", "ready": True}
        self.status["containerStatuses"] = [about | {"restartCount": 0, "state": state}]

    def _here(self, text: str) -> str:
        """A path in the pod as a path of this machine."""
        for place, here in sorted(self._places.items(), reverse=True):
            text = re.sub(rf"(?<![\w/]){re.escape(place)}(?![\w-])", here, text)
        return text


class Cluster:
    """The API server and its pods.

    Attributes:
        plan: may raise a `Refusal` for a request, or answer it in place of the API.
        created: every pod that was ever created.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.plan: Callable[[Request], Json | None] = lambda request: None
        self.asked: list[Request] = []
        self.created: list[Pod] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self._pods: dict[str, Pod] = {}
        self._lock, self._server = threading.Lock(), _Server(("127.0.0.1", 0), self)
        self._address = self._server.server_address[:2]
        self._serve()
        config = folder / "kubeconfig"
        config.write_text(json.dumps(self._config()))
        self.connection = json.dumps({"conn_type": "kubernetes", "extra": {"kube_config_path": str(config)}})

    def go_away(self) -> None:
        """Refuse connections and cut those that are open, until `come_back`; pods go on."""
        self._server.gone = True
        self._server.shutdown()
        self._server.server_close()

    def come_back(self) -> None:
        self._server = _Server(self._address, self)
        self._serve()

    def wait_for(self, holds: Callable[[Pod], Any], seconds: float = 120) -> Pod:
        """The first pod of which this holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for pod in self.created:
                if holds(pod):
                    return pod
            time.sleep(0.05)
        raise AssertionError(f"no such pod among {[(pod.name, pod.status) for pod in self.created]}")

    def evict(self, pod: Pod) -> None:
        """End a pod as a kubelet does whose node is short of something: it stays, and says why."""
        why = "The node was low on resource: memory. Container base was using 9Gi, request is 4Gi."
        target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": why}
        pod.end(reason="Evicted", message=why, conditions=[*pod.status["conditions"], target])

    def lose(self, pod: Pod) -> None:
        """Delete a pod, as a drain of its node, a preemption or the loss of the node does."""
        with self._lock:
            self._pods.pop(pod.name, None)
        pod.remove()

    def names(self) -> list[str]:
        return sorted(self._pods)

    def close(self) -> None:
        for pod in self.created:
            pod.remove()
        with contextlib.suppress(OSError):
            self.go_away()

    def answer(self, request: Request) -> Json | Pod:
        """What the API says; a pod, for its log.

        Raises:
            Refusal: anything but success.
        """
        self.asked.append(request)
        if (planned := self.plan(request)) is not None:
            return planned
        match = re.fullmatch(r"/api/v1/namespaces/([^/]+)/(pods|events)(?:/([^/]+))?(/log)?", request.path)
        if not match:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        namespace, kind, name, log = match.groups()
        if kind == "events":
            return {"kind": "EventList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}
        with self._lock:
            if request.method == "POST":
                return self._create(request.body, namespace)
            if name is None:
                return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._list(request)}
            if name not in self._pods:
                raise Refusal(404, "NotFound", f'pods "{name}" not found')
            pod = self._pods[name]
            if request.method == "DELETE":
                self._pods.pop(name).remove()
            if request.method == "PATCH":
                pod.manifest["metadata"]["labels"] |= request.body["metadata"]["labels"]
            return pod if log else self._shown(pod)

    def _create(self, manifest: Json, namespace: str) -> Json:
        name = manifest["metadata"]["name"]
        if name in self._pods:
            raise Refusal(409, "AlreadyExists", f'pods "{name}" already exists')
        try:
            kubernetes_validate.validate(manifest, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise Refusal(422, "Invalid", f'Pod "{name}" is invalid: {error.message}') from None
        if broken := violations(manifest):
            why = f'pods "{name}" is forbidden: violates PodSecurity "restricted:v{VERSION}": {", ".join(broken)}'
            raise Refusal(403, "Forbidden", why)
        manifest["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "namespace": namespace}
        self._pods[name] = pod = Pod(manifest, self.folder / name, self.folder / "claims", self.secrets)
        self.created.append(pod)
        pod.start()
        return self._shown(pod)

    def _list(self, request: Request) -> list[Json]:
        wanted = [each for each in request.query.get("labelSelector", "").split(",") if each]
        return [self._shown(pod) for pod in self._pods.values() if all(_selects(each, pod.manifest) for each in wanted)]

    def _shown(self, pod: Pod) -> Json:
        return json.loads(json.dumps(pod.manifest | {"status": pod.status}))

    def _serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _config(self) -> Json:
        host, port = self._address
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "airflow"}}],
            "clusters": [{"name": "test", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "airflow", "user": {"token": TOKEN}}],
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: Any, cluster: Cluster):
        super().__init__(address, _Handler)
        self.cluster, self.gone = cluster, False

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def _handle(self) -> None:
        url, size = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"{}")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "Unauthorized")
            said = self.server.cluster.answer(Request(self.command, url.path, query, body))
        except Refusal as refusal:
            return self._send(refusal.code, refusal.body())
        if self.server.gone:
            raise ConnectionResetError
        if isinstance(said, Pod):
            return self._send_log(said, query)
        return self._send(201 if self.command == "POST" else 200, said)

    do_GET = do_POST = do_DELETE = do_PATCH = _handle

    def _send(self, code: int, said: Json) -> None:
        text = json.dumps(said).encode()
        self.send_response_only(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _send_log(self, pod: Pod, query: dict[str, str]) -> None:
        """The lines of a log, each with its time; followed until the pod ends, is removed, or the server is away."""
        self.send_response_only(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        since = time.time() - float(query["sinceSeconds"]) if "sinceSeconds" in query else 0
        sent = 0
        while True:
            done = pod.ended or pod.removed or query.get("follow", "").lower() != "true"
            for moment, line in pod.lines[sent:]:
                sent += 1
                if moment.timestamp() >= since:
                    text = f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z ".encode() + line + b"\n"
                    self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
            if self.server.gone:
                raise ConnectionResetError
            if done:
                break
            time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")


def _selects(selector: str, manifest: Json) -> bool:
    """Whether a pod has a label: `a=b`, `a!=b` or `!a`."""
    labels = manifest["metadata"].get("labels") or {}
    if selector.startswith("!"):
        return selector[1:] not in labels
    name, differs, value = re.fullmatch(r"([^!=]+)(!?)==?(.*)", selector).groups()  # type: ignore[union-attr]
    return (labels.get(name) != value) if differs else labels.get(name) == value


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextlib.contextmanager
def kubernetes_api(folder: Path) -> Iterator[Cluster]:
    """Serve until the end of the context; the pods end with it."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.close()
