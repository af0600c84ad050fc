"""What `kubectl apply -k` would send: the objects of a folder of deploy/k8s."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
K8S = ROOT / "deploy" / "k8s"
FOLDERS = ("base", "overlays/laptop", "overlays/production", "fill")
SERVING = FOLDERS[:3]
KUBECTL = shutil.which("kubectl")

Object = dict[str, Any]


@functools.cache
def _built(folder: str) -> str:
    if KUBECTL is None:
        pytest.skip("kubectl, which builds the manifests, is missing")
    command = [KUBECTL, "kustomize", str(K8S / folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def build(folder: str) -> list[Object]:
    """Every object, as the caller's own copy. Skips the test where kubectl is missing."""
    return list(yaml.safe_load_all(_built(folder)))


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of a kind, in their order."""
    return [one for one in objects if one["kind"] == kind]


def the(objects: list[Object], kind: str) -> Object:
    """The only one of its kind."""
    (one,) = of_kind(objects, kind)
    return one


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod's metadata and spec, as what it is called and an object of both."""
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield name, one
        elif "template" in one.get("spec", {}):
            yield name, one["spec"]["template"]


def containers(pod: Object) -> Iterator[Object]:
    """Every container, those that run first or for a look too."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod["spec"].get(field, ())


def server(objects: list[Object]) -> Object:
    """The container that serves."""
    (one,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return one


def environment(objects: list[Object]) -> dict[str, str]:
    """What the server's container gets from its ConfigMaps and from its own list."""
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(objects, "ConfigMap")}
    container = server(objects)
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= maps[source["configMapRef"]["name"]]
    return found | {one["name"]: one["value"] for one in container.get("env", ())}
