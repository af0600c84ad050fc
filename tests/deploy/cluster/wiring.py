"""Whether what refers to something finds it: ports, labels, claims, accounts, images."""

from collections.abc import Iterator

import rnnserve
from deploy.cluster.manifests import Object, containers, of_kind, pods, server, the
from rnnserve.ops.health_port import LIVENESS
from rnnserve.ops.server import SERVICES
from rnnserve.settings import ServeSettings

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
HEALTH_SERVICES = ("", LIVENESS, *SERVICES)


def of_ports(objects: list[Object], settings: ServeSettings) -> Iterator[str]:
    """Ports that the server, run with these settings, doesn't open, or that nobody can reach."""
    opened = {
        "grpc": settings.port,
        "metrics": settings.metrics_port,
        "health": settings.health_port,
    }
    container = server(objects)
    told = {port["name"]: port["containerPort"] for port in container["ports"]}
    if told != opened:
        yield f"the container names the ports {told}, the server opens {opened}"
    for service in of_kind(objects, "Service"):
        for port in service["spec"]["ports"]:
            name = service["metadata"]["name"]
            if told.get(port["targetPort"]) != port["port"]:
                yield f"Service {name}: port {port['name']} leads to no port of the same number"
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            for port in rule["ports"]:
                if port["port"] not in told:
                    yield f"NetworkPolicy: no port {port['port']}"


def of_probes(objects: list[Object], settings: ServeSettings) -> Iterator[str]:
    """Probes that ask a port or a service that doesn't answer in plaintext."""
    container = server(objects)
    for name in PROBES:
        grpc = container.get(name, {}).get("grpc")
        if grpc is None:
            yield f"no {name} over gRPC"
        elif grpc["port"] != settings.health_port:
            yield f"{name} asks port {grpc['port']}, health is on {settings.health_port}"
        elif grpc.get("service", "") not in HEALTH_SERVICES:
            yield f"{name} asks for {grpc['service']}, which health doesn't know"
    if container.get("livenessProbe", {}).get("grpc", {}).get("service") != LIVENESS:
        yield "livenessProbe would kill a pod that drains"


def of_selectors(objects: list[Object]) -> Iterator[str]:
    """Labels by which something looks for the server's pods, or for its Service, in vain."""
    spec = the(objects, "Deployment")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    looking = [("Deployment", spec["selector"]["matchLabels"])]
    looking += [
        (f"Service {one['metadata']['name']}", one["spec"]["selector"])
        for one in of_kind(objects, "Service")
    ]
    looking += [
        (one["kind"], one["spec"][field]["matchLabels"])
        for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"))
        for one in of_kind(objects, kind)
    ]
    looking += [
        (f"spread over {one['topologyKey']}", one["labelSelector"]["matchLabels"])
        for one in spec["template"]["spec"]["topologySpreadConstraints"]
    ]
    for who, wanted in looking:
        if not wanted or not wanted.items() <= labels.items():
            yield f"{who} looks for {wanted}, the pods have {labels}"


def of_references(objects: list[Object]) -> Iterator[str]:
    """Names of other objects that aren't there. Secrets are made by others."""
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for who, kind, name in _references(objects):
        if (kind, name) not in there:
            yield f"{who} wants {kind} {name}"


def _references(objects: list[Object]) -> Iterator[tuple[str, str, str]]:
    for who, pod in pods(objects):
        if account := pod["spec"].get("serviceAccountName"):
            yield who, "ServiceAccount", account
        for volume in pod["spec"].get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                yield who, "PersistentVolumeClaim", claim["claimName"]
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                yield who, "ConfigMap", source["configMapRef"]["name"]
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        yield "HorizontalPodAutoscaler", target["kind"], target["name"]


def of_mounts(objects: list[Object]) -> Iterator[str]:
    """Mounts without their volume; and what should be mounted otherwise."""
    for who, pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for mount in (one for box in containers(pod) for one in box.get("volumeMounts", ())):
            volume = volumes.get(mount["name"])
            if volume is None:
                yield f"{who}: no volume {mount['name']}"
            elif "secret" in volume and "subPath" in mount:
                yield f"{who}: {mount['name']} by subPath would never be renewed"
            elif who.startswith("Deployment") and _may_write(volume, mount):
                yield f"{who}: the models could be written to"


def _may_write(volume: Object, mount: Object) -> bool:
    return "persistentVolumeClaim" in volume and not mount.get("readOnly")


def of_images(objects: list[Object]) -> Iterator[str]:
    """Images that are another version tomorrow, or another version than this code."""
    for who, pod in pods(objects):
        for container in containers(pod):
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            if tag in ("", "latest"):
                yield f"{who}: {container['image']} can be anything"
            elif tag != rnnserve.__version__:
                yield f"{who}: {container['image']}, this is {rnnserve.__version__}"
