"""What the server makes of the environment that a manifest or an image gives it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from unittest.mock import patch

from cyclopts import CycloptsError

from deploy.cluster.manifests import Object, containers, environment, pods, server
from deploy.cluster.quantities import quantity
from deploy.dockerfile import Dockerfile
from rnnserve.cli import build
from rnnserve.settings import ServeSettings

PREFIX = "RNNSERVE_"
KNOWN = frozenset(PREFIX + field.name.upper() for field in fields(ServeSettings))
PROCESS_BYTES = 256 << 20
"""What the process needs beside carries and what waits: Python, onnxruntime, a small model."""


def read(given: Mapping[str, str], *arguments: str) -> ServeSettings:
    """What `rnnserve serve` runs with, given this environment. Raises CycloptsError."""
    with patch.dict(os.environ, given, clear=True):
        app = build("serve")
        _, bound, _ = app.parse_args(["serve", *arguments], exit_on_error=False, print_error=False)
    settings = bound.arguments.get("settings", ServeSettings())
    assert isinstance(settings, ServeSettings)
    return settings


def settings_of(objects: list[Object], image: Dockerfile) -> ServeSettings:
    """What the server in the pod runs with: the image's environment below the pod's."""
    return read({**image.environment, **environment(objects)})


def unknown(given: Mapping[str, str]) -> list[str]:
    """Options that the server doesn't have; it would ignore them without a word."""
    return sorted(name for name in given if name.startswith(PREFIX) and name not in KNOWN)


def of_options(objects: list[Object], image: Dockerfile) -> Iterator[str]:
    """Options that aren't there, or whose value is refused."""
    given = environment(objects)
    for name in unknown(given):
        yield f"the server has no option {name}"
    try:
        settings_of(objects, image)
    except CycloptsError as error:
        yield f"the server refuses its environment: {error}"


def of_files(objects: list[Object], settings: ServeSettings) -> Iterator[str]:
    """Paths among the options that no volume is mounted for."""
    mounted = [mount["mountPath"] for mount in server(objects)["volumeMounts"]]
    wanted = (settings.repository, settings.tls_certificate, settings.tls_key)
    for path in (*wanted, settings.tls_client_ca):
        if path is not None and not any(path.is_relative_to(place) for place in mounted):
            yield f"nothing is mounted for {path}"


def of_memory(objects: list[Object], settings: ServeSettings) -> Iterator[str]:
    """Bounds of the server that the kernel would enforce first."""
    limit = quantity(server(objects)["resources"]["limits"]["memory"])
    promised = settings.max_carry_bytes + settings.max_waiting_bytes + PROCESS_BYTES
    if promised > limit:
        yield f"the server may need {promised} bytes, its limit is {limit:.0f}"


def of_limits(objects: list[Object]) -> Iterator[str]:
    """Containers without a CPU limit, which is what threads follow, or without one of memory."""
    for who, pod in pods(objects):
        for container in containers(pod):
            limits = container.get("resources", {}).get("limits", {})
            for name in {"cpu", "memory"} - set(limits):
                yield f"{who}: container {container['name']} has no limit of {name}"
