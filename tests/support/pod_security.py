"""The restricted Pod Security Standard of Kubernetes, rule by rule, which includes the baseline.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (the tables "Baseline" and "Restricted",
Kubernetes 1.34). A namespace with the label `pod-security.kubernetes.io/enforce: restricted` refuses what breaks one.
"""

from collections.abc import Callable, Iterator
from typing import Any

Pod = dict[str, Any]
VOLUME_TYPES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: Pod) -> list[str]:
    """The names of the rules that a pod breaks, as the tables name them."""
    return [name for name, holds in RULES.items() if not holds(pod)]


def containers(pod: Pod) -> Iterator[Pod]:
    """Every container: sidecars, init containers and ephemeral ones too."""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from pod["spec"].get(kind) or []


def contexts(pod: Pod) -> list[Pod]:
    """The security contexts of the pod and of each container."""
    return [pod["spec"].get("securityContext") or {}, *(each.get("securityContext") or {} for each in containers(pod))]


def _each(holds: Callable[[Pod], bool]) -> Callable[[Pod], bool]:
    """A rule that must hold for the security context of each container."""
    return lambda pod: all(holds(each.get("securityContext") or {}) for each in containers(pod))


def _hosts(container: Pod) -> Iterator[str]:
    """The hosts that probes and hooks of a container name."""
    probes = [container.get(f"{kind}Probe") or {} for kind in ("liveness", "readiness", "startup")]
    hooks = (container.get("lifecycle") or {}).values()
    for handler in (*probes, *hooks):
        for kind in ("httpGet", "tcpSocket"):
            yield (handler.get(kind) or {}).get("host") or ""


def _app_armor(pod: Pod) -> bool:
    types = {(context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") for context in contexts(pod)}
    annotations = pod["metadata"].get("annotations") or {}
    named = [value for name, value in annotations.items() if name.startswith("container.apparmor.security.beta")]
    return types <= PROFILES and all(value == "runtime/default" or value.startswith("localhost/") for value in named)


def _selinux(context: Pod) -> bool:
    options = context.get("seLinuxOptions") or {}
    return options.get("type", "") in SELINUX_TYPES and not options.get("user") and not options.get("role")


def _seccomp(pod: Pod) -> bool:
    of_pod, *of_containers = [(context.get("seccompProfile") or {}).get("type") for context in contexts(pod)]
    return all((kind or of_pod) in PROFILES for kind in of_containers) and of_pod in {None, *PROFILES}


def _non_root(pod: Pod) -> bool:
    of_pod, *of_containers = [context.get("runAsNonRoot") for context in contexts(pod)]
    return all((of_pod if each is None else each) is True for each in of_containers)


def _capabilities(context: Pod) -> bool:
    given = context.get("capabilities") or {}
    return "ALL" in (given.get("drop") or []) and set(given.get("add") or []) <= {"NET_BIND_SERVICE"}


RULES: dict[str, Callable[[Pod], bool]] = {
    "HostProcess": lambda pod: not any((c.get("windowsOptions") or {}).get("hostProcess") for c in contexts(pod)),
    "Host Namespaces": lambda pod: not any(pod["spec"].get(f"host{kind}") for kind in ("Network", "PID", "IPC")),
    "Privileged Containers": _each(lambda context: not context.get("privileged")),
    "HostPath Volumes": lambda pod: not any("hostPath" in each for each in pod["spec"].get("volumes") or []),
    "Host Ports": lambda pod: not any(p.get("hostPort") for c in containers(pod) for p in c.get("ports") or []),
    "Host Probes / Lifecycle Hooks": lambda pod: not any(host for c in containers(pod) for host in _hosts(c)),
    "AppArmor": _app_armor,
    "SELinux": lambda pod: all(map(_selinux, contexts(pod))),
    "/proc Mount Type": _each(lambda context: context.get("procMount", "Default") == "Default"),
    "Sysctls": lambda pod: {s["name"] for s in contexts(pod)[0].get("sysctls") or []} <= SAFE_SYSCTLS,
    "Volume Types": lambda pod: all(set(v) - {"name"} <= VOLUME_TYPES for v in pod["spec"].get("volumes") or []),
    "Privilege Escalation": _each(lambda context: context.get("allowPrivilegeEscalation") is False),
    "Running as Non-root": _non_root,
    "Running as Non-root user": lambda pod: all(context.get("runAsUser") != 0 for context in contexts(pod)),
    "Seccomp": _seccomp,
    "Capabilities": _each(_capabilities),
}
