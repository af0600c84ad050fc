"""How long a pod takes to stop, at most, and how long it may."""

from collections.abc import Iterator

from deploy.cluster.manifests import Object, the
from rnnserve.ops.drain import FINISH_S, WRITE_S
from rnnserve.ops.health_port import STOP_WITHIN_S
from rnnserve.ops.workers import END_WITHIN_S
from rnnserve.settings import ServeSettings

END_S = FINISH_S + 3 * WRITE_S + END_WITHIN_S + STOP_WITHIN_S
"""From the end of the grace to the end of the process: what was taken in is finished, streams are
quiet, written and closed, threads and the health port end."""
MARGIN_S = 5.0
LOADING_S = 120.0
"""What the startup probe has to grant at least."""


def pre_stop_s(pod: Object) -> float:
    """How long the hook sleeps. The kubelet does it: the image needs no shell for it."""
    (container,) = pod["spec"]["containers"]
    return float(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})["seconds"])


def of_stop(objects: list[Object], settings: ServeSettings) -> Iterator[str]:
    """The kubelet kills after terminationGracePeriodSeconds, the hook included."""
    pod = the(objects, "Deployment")["spec"]["template"]
    needed = pre_stop_s(pod) + settings.grace_s + END_S + MARGIN_S
    allowed = pod["spec"].get("terminationGracePeriodSeconds", 30)
    if needed > allowed:
        yield f"a stop may take {needed:g} s, the pod is killed after {allowed} s"
    readiness = pod["spec"]["containers"][0]["readinessProbe"]
    if readiness["periodSeconds"] * readiness["failureThreshold"] > settings.grace_s:
        yield "the grace is over before the pod counts as not ready"


def of_start(objects: list[Object]) -> Iterator[str]:
    """Whether models have the time to load before the pod counts as dead."""
    (container,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    granted = probe["periodSeconds"] * probe["failureThreshold"]
    if granted < LOADING_S:
        yield f"the startup probe grants {granted} s"
