"""The Pod Security Standard "restricted", with what it takes over from "baseline".

Source: the Kubernetes documentation, Pod Security Standards. Beyond it, what this project asks of
itself: a root filesystem that is read-only, no token, no environment made of Services' names.
"""

from collections.abc import Iterator

from deploy.cluster.manifests import Object, containers

VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
SECCOMP = ("RuntimeDefault", "Localhost")
MAY_ADD = frozenset({"NET_BIND_SERVICE"})


def problems(pod: Object) -> list[str]:
    """What of a pod the standard forbids, and what of ours it lacks."""
    return [*_of_pod(pod["spec"]), *_of_ours(pod["spec"]), *_of_containers(pod)]


def _of_pod(spec: Object) -> Iterator[str]:
    for name in HOST_NAMESPACES:
        if spec.get(name):
            yield f"{name} is on"
    context = spec.get("securityContext", {})
    if context.get("sysctls"):
        yield "sysctls are set"
    for key in ("seLinuxOptions", "windowsOptions", "appArmorProfile"):
        if key in context:
            yield f"{key} is set"
    for volume in spec.get("volumes", ()):
        if forbidden := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {forbidden.pop()}"


def _of_ours(spec: Object) -> Iterator[str]:
    if spec.get("automountServiceAccountToken") is not False:
        yield "a token is mounted"
    if spec.get("enableServiceLinks") is not False:
        yield "Services' names become environment variables"


def _of_containers(pod: Object) -> Iterator[str]:
    of_pod = pod["spec"].get("securityContext", {})
    for container in containers(pod):
        own = container.get("securityContext", {})
        for problem in _of_container(container, {**of_pod, **own}, own):
            yield f"container {container['name']}: {problem}"


def _of_container(container: Object, context: Object, own: Object) -> Iterator[str]:
    """`context` is what holds for it, the pod's included; `own` what only a container can say."""
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("runAsNonRoot") is not True:
        yield "may run as root"
    if context.get("runAsUser", 1) == 0:
        yield "runs as root"
    if context.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield "no seccomp profile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "keeps capabilities"
    if added := set(capabilities.get("add", ())) - MAY_ADD:
        yield f"adds {sorted(added)}"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "a port of the host"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
