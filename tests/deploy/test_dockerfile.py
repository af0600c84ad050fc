"""The image as its Dockerfile describes it; tests/e2e/test_packaging.py runs what it installs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rnnserve
from deploy import dockerfile
from deploy.cluster import options
from deploy.cluster.manifests import ROOT
from deploy.dockerfile import Dockerfile
from rnnserve import cli

TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
COMMANDS = {command.name for command in cli.COMMANDS}
OURS = ("service", "models", "export", "bench/rnnserve_bench")
NEEDED = (*OURS, "pyproject.toml", "README.md", "LICENSE", "constraints.txt")


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("hadolint"), "--no-color", "-"]
    return subprocess.run(command, input=text, check=False, capture_output=True, text=True)


def problems(image: Dockerfile) -> Iterator[str]:
    """What wouldn't work, or shouldn't be so."""
    given = image.environment
    yield from (f"no option {name}" for name in options.unknown(given))
    settings = options.read(given, *image.command("CMD")[1:])
    exposed = {int(port) for port in image.one("EXPOSE").split()}
    opened = {settings.port, settings.metrics_port, settings.health_port}
    if exposed != opened:
        yield f"exposes {exposed}, the server opens {opened}"
    if settings.host != "0.0.0.0":
        yield f"listens on {settings.host}"
    user = image.one("USER").partition(":")[0]
    if not user.isdigit() or int(user) == 0:
        yield f"runs as {user}"
    if image.one("STOPSIGNAL") != "SIGTERM":
        yield "is stopped by another signal"
    called = [*image.command("ENTRYPOINT"), *image.command("CMD")]
    check = re.search(r"\[.*\]", image.one("HEALTHCHECK"))
    for command in (called, json.loads(check[0] if check else "[]")):
        if command[:1] != ["rnnserve"] or command[1] not in COMMANDS:
            yield f"{command} is no call of rnnserve"
    if check is None or f"127.0.0.1:{settings.health_port}" not in check[0]:
        yield "health is asked for elsewhere"
    for stage in image.stages:
        base = stage[0][1].partition(" AS ")[0]
        if not re.fullmatch(r"[a-z/]+:[0-9][^ ]*", base):
            yield f"{base} can be anything"


def test_hadolint_has_nothing_to_say_and_nothing_is_kept_from_it():
    assert "hadolint ignore" not in TEXT
    ran = hadolint(TEXT)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("FROM python:3.11-slim-bookworm AS wheel", "FROM python AS wheel", "DL3006"),
        ("WORKDIR /source", "WORKDIR source", "DL3000"),
        (" --no-cache-dir", "", "DL3042"),
        (" --constraint constraints.txt build", " build", "DL3013"),
    ],
)
def test_hadolint_would_say_so(before, after, rule):
    assert before in TEXT
    ran = hadolint(TEXT.replace(before, after))
    assert ran.returncode == 1
    assert rule in ran.stdout


def test_the_image_does_what_it_says():
    assert list(problems(dockerfile.ours())) == []


def changed(before: str, after: str) -> Callable[[], Dockerfile]:
    def parsed() -> Dockerfile:
        assert before in TEXT
        return dockerfile.parse(TEXT.replace(before, after))

    return parsed


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (changed("EXPOSE 8001 8002", "EXPOSE 8001 9002"), "exposes {"),
        (changed("RNNSERVE_PORT=8001", "RNNSERVE_PORT=9001"), "the server opens {"),
        (changed("RNNSERVE_HEALTH_PORT", "RNNSERVE_PROBE_PORT"), "no option RNNSERVE_PROBE_PORT"),
        (changed("RNNSERVE_HOST=0.0.0.0", "RNNSERVE_HOST=127.0.0.1"), "listens on 127.0.0.1"),
        (changed("USER 65532:65532", "USER 0:0"), "runs as 0"),
        (changed("USER 65532:65532", "USER nobody"), "runs as nobody"),
        (changed("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL"), "another signal"),
        (changed('"rnnserve", "health"', '"rnnserve", "check"'), "is no call of rnnserve"),
        (changed("127.0.0.1:8003", "127.0.0.1:8001"), "health is asked for elsewhere"),
        (changed("python:3.11-slim-bookworm AS venv", "python AS venv"), "python can be anything"),
        (
            changed("python:3.11-slim-bookworm\n", "python:latest\n"),
            "python:latest can be anything",
        ),
    ],
)
def test_what_would_not_work_is_found(image, word):
    found = list(problems(image()))
    assert any(word in problem for problem in found), found


def test_the_version_is_this_one():
    (version,) = dockerfile.ours().all_of("ARG")
    assert version == f"VERSION={rnnserve.__version__}"


def sent(ignore: str) -> set[str]:
    """What a .dockerignore that forbids everything lets through at the top."""
    lines = [line for line in ignore.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_the_builder_gets_what_is_copied_and_nothing_else():
    copies = dockerfile.ours().all_of("COPY", 0) + dockerfile.ours().all_of("COPY", 1)
    sources = {
        source for copy in copies if not copy.startswith("--from") for source in copy.split()[:-1]
    }
    assert sources == set(NEEDED)
    assert sent((ROOT / ".dockerignore").read_text()) == sources
    assert all((ROOT / source).exists() for source in sources)


def test_no_torch_and_no_pip_reach_the_image():
    image = dockerfile.ours()
    assert [copy.split()[0] for copy in image.all_of("COPY")] == ["--from=venv"]
    assert image.all_of("RUN") == []
    (install,) = image.all_of("RUN", 1)
    assert "--without-pip" in install
    assert "[trace]" in install
