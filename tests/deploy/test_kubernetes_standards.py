"""The manifests against what Kubernetes takes, and against the profile "restricted"."""

from collections.abc import Callable

import pytest

from deploy.cluster import restricted, schemas, wiring
from deploy.cluster.manifests import FOLDERS, Object, build, pods, the

pytestmark = pytest.mark.optional


@pytest.mark.parametrize("minor", schemas.MINORS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_is_valid_in_four_minors(folder, minor):
    objects = build(folder)
    assert objects
    assert [problem for one in objects for problem in schemas.problems(one, minor)] == []


def test_the_four_minors_follow_each_other():
    numbers = [int(minor.split(".")[1]) for minor in schemas.MINORS]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def pod_spec(objects: list[Object]) -> Object:
    return the(objects, "Deployment")["spec"]["template"]["spec"]


def container(objects: list[Object]) -> Object:
    return pod_spec(objects)["containers"][0]


def autoscaler(objects: list[Object]) -> Object:
    return the(objects, "HorizontalPodAutoscaler")["spec"]


def endpoint(objects: list[Object]) -> Object:
    return the(objects, "ServiceMonitor")["spec"]["endpoints"][0]


def rule(objects: list[Object]) -> Object:
    """The last alert."""
    return the(objects, "PrometheusRule")["spec"]["groups"][-1]["rules"][-1]


@pytest.mark.parametrize(
    ("part", "damage", "word"),
    [
        (container, {"imagePullPolice": "Never"}, "imagePullPolice"),
        (container, {"lifecycle": {"preStop": {"sleep": {"second": 5}}}}, "second"),
        (container, {"readinessProbe": {"grpc": {"port": "health"}}}, "integer"),
        (pod_spec, {"terminationGracePeriodSeconds": "45"}, "integer"),
        (autoscaler, {"minReplicas": "two"}, "integer"),
        (endpoint, {"interval": "soon"}, "interval"),
        (endpoint, {"prot": "metrics"}, "prot"),
        (rule, {"for": "an hour"}, "an hour"),
        (rule, {"annotation": {}}, "annotation"),
        (rule, {"labels": {"severity": 1}}, "severity"),
        (rule, {"record": "also:this"}, "valid under"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("minor", [schemas.MINORS[0], schemas.MINORS[-1]])
def test_what_a_minor_does_not_know_is_found(part, damage, word, minor):
    objects = build("overlays/production")
    part(objects).update(damage)
    found = [problem for one in objects for problem in schemas.problems(one, minor)]
    assert any(word in problem for problem in found), found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_pod_keeps_the_restricted_profile(folder):
    found = dict(pods(build(folder)))
    assert found
    assert [problem for pod in found.values() for problem in restricted.problems(pod)] == []


@pytest.mark.parametrize("folder", ["overlays/laptop", "overlays/production"])
def test_the_namespace_enforces_it(folder):
    labels = the(build(folder), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def security(pod: Object) -> Object:
    return pod["spec"]["containers"][0]["securityContext"]


def pod_security(pod: Object) -> Object:
    return pod["spec"]["securityContext"]


Damage = Callable[[Object], object]
FORBIDDEN: dict[str, tuple[Damage, str]] = {
    "privileged": (lambda pod: security(pod).update(privileged=True), "privileged"),
    "escalation": (
        lambda pod: security(pod).pop("allowPrivilegeEscalation"),
        "may gain privileges",
    ),
    "writable root": (
        lambda pod: security(pod).update(readOnlyRootFilesystem=False),
        "may write to its root",
    ),
    "capabilities kept": (lambda pod: security(pod).pop("capabilities"), "keeps capabilities"),
    "a capability more": (
        lambda pod: security(pod)["capabilities"].update(add=["SYS_ADMIN"]),
        "adds ['SYS_ADMIN']",
    ),
    "/proc": (lambda pod: security(pod).update(procMount="Unmasked"), "procMount"),
    "root by number": (lambda pod: security(pod).update(runAsUser=0), "runs as root"),
    "root perhaps": (lambda pod: pod_security(pod).pop("runAsNonRoot"), "may run as root"),
    "root by a container": (
        lambda pod: security(pod).update(runAsNonRoot=False),
        "may run as root",
    ),
    "no seccomp": (lambda pod: pod_security(pod).pop("seccompProfile"), "no seccomp profile"),
    "seccomp off": (
        lambda pod: security(pod).update(seccompProfile={"type": "Unconfined"}),
        "no seccomp profile",
    ),
    "sysctls": (
        lambda pod: pod_security(pod).update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
        "sysctls are set",
    ),
    "the host's network": (lambda pod: pod["spec"].update(hostNetwork=True), "hostNetwork is on"),
    "the host's port": (
        lambda pod: pod["spec"]["containers"][0]["ports"][0].update(hostPort=8001),
        "a port of the host",
    ),
    "the host's disk": (
        lambda pod: pod["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "volume x is a hostPath",
    ),
    "a token": (lambda pod: pod["spec"].pop("automountServiceAccountToken"), "a token is mounted"),
    "service links": (
        lambda pod: pod["spec"].pop("enableServiceLinks"),
        "Services' names become environment variables",
    ),
    "one that runs first": (
        lambda pod: pod["spec"].update(
            initContainers=[{"name": "early", "securityContext": {**security(pod), "runAsUser": 0}}]
        ),
        "container early: runs as root",
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_restricted_forbids_is_found(case):
    damage, word = FORBIDDEN[case]
    ((_, pod),) = pods(build("base"))
    damage(pod)
    (problem,) = restricted.problems(pod)
    assert word in problem


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_image_is_of_this_version(folder):
    assert list(wiring.of_images(build(folder))) == []


@pytest.mark.parametrize(
    "image", ["rnnserve", "rnnserve:latest", "rnnserve:0.0.0", "example.org:5000/rnnserve"]
)
def test_an_image_that_can_be_anything_is_found(image):
    objects = build("base")
    container(objects)["image"] = image
    assert len(list(wiring.of_images(objects))) == 1
