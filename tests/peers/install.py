"""Install the peers below `.peers/`: `PYTHONPATH=tests python -m peers.install`.

What is there for the same pins is left alone. Nothing outside `.peers/` is changed, but for apt's
lists where they are empty. A peer that this machine can't have is named with the reason and is no
error; pip that fails is one.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.place import (
    CLIENT,
    CLIENT_PYTHON,
    PEERS,
    PERF_ANALYZER,
    PERF_ANALYZER_PROGRAM,
    PROMETHEUS,
    PROMETHEUS_PROGRAM,
    PROMTOOL_PROGRAM,
    Place,
)

B64 = "libb64-0d"
"""Debian's package of the one library that no wheel brings."""


class Unavailable(Exception):
    """This machine can't have the peer; the sentence says why and what would help."""


def install_client() -> None:
    """A virtual environment with tritonclient."""
    run(sys.executable, "-m", "venv", "--without-pip", CLIENT.folder)
    pip("--python", CLIENT_PYTHON, "install", "--no-deps", "--requirement", CLIENT.pins)
    run(CLIENT_PYTHON, "-c", "import tritonclient.grpc")


def install_perf_analyzer() -> None:
    """The program and the libraries that it is linked to. Raises Unavailable."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable("perf_analyzer is built for Linux on x86_64 alone")
    libraries = PERF_ANALYZER.folder / "lib"
    libraries.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--require-hashes", "--only-binary", ":all:",
            "--dest", folder, "--requirement", PERF_ANALYZER.pins)  # fmt: skip
        for wheel in Path(folder).glob("*.whl"):
            take(wheel, "/data/bin/perf_analyzer", PERF_ANALYZER_PROGRAM)
            take(wheel, "/lib/libcudart.so.12", libraries / "libcudart.so.12")
    PERF_ANALYZER_PROGRAM.chmod(0o755)
    if problem := start_problem():
        unpack_b64(libraries)
        problem = start_problem()
    if problem:
        raise Unavailable(f"perf_analyzer does not start here: {problem}")


def take(wheel: Path, ending: str, target: Path) -> None:
    """Write the wheel's file whose path ends so; many wheels have none."""
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            if name.endswith(ending):
                target.write_bytes(files.read(name))


def start_problem() -> str:
    """What the program says instead of its version; empty when it starts."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(PERF_ANALYZER.folder / "lib")}
    command = [str(PERF_ANALYZER_PROGRAM), "--version"]
    started = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "" if started.returncode == 0 else started.stderr.strip()


def unpack_b64(target: Path) -> None:
    """Take the library out of its Debian package."""
    with unpacked(B64, "perf_analyzer needs") as folder:
        for library in folder.rglob("libb64.so.0d"):
            shutil.copy(library, target)


def install_prometheus() -> None:
    """Its programs alone, out of Debian's package: no service, no user. Raises Unavailable."""
    PROMETHEUS.folder.mkdir(parents=True)
    with unpacked(PROMETHEUS.pins.read_text().strip(), "the tests of deploy/prometheus need") as at:
        for program in (PROMETHEUS_PROGRAM, PROMTOOL_PROGRAM):
            shutil.copy(at / "usr" / "bin" / program.name, program)
            started = subprocess.run([program, "--version"], check=False, capture_output=True)
            if started.returncode:
                raise Unavailable(f"{program.name} does not start here: {started.stderr.decode()}")


@contextmanager
def unpacked(package: str, who_needs: str) -> Iterator[Path]:
    """What a Debian package holds; it is fetched and not installed. Raises Unavailable."""
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise Unavailable(f"{who_needs} {package}, and there is no apt to fetch it with")
    with tempfile.TemporaryDirectory() as folder:
        fetch = ["apt-get", "download", "--quiet", package]
        if subprocess.run(fetch, cwd=folder, check=False, capture_output=True).returncode:
            if os.geteuid() != 0:
                raise Unavailable(
                    f"{who_needs} {package}, which apt does not find: run `apt-get update` as "
                    "root, then `make peers`"
                )
            run("apt-get", "update", "--quiet")
            run(*fetch, cwd=folder)
        for archive in Path(folder).glob("*.deb"):
            run("dpkg-deb", "--extract", archive, folder)
        yield Path(folder)


def pip(*arguments: str | Path) -> None:
    run(sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments)


def run(*command: str | Path, cwd: str | None = None) -> None:
    if subprocess.run(command, cwd=cwd, check=False).returncode:
        words = " ".join(map(str, command))
        raise SystemExit(f"peers: this failed, its message stands above: {words}")


def key(place: Place) -> str:
    """Changes with the pins, with this file and with the Python that runs it."""
    content = place.pins.read_bytes() + Path(__file__).read_bytes() + sys.version.encode()
    return hashlib.sha256(content).hexdigest()


def ensure(place: Place, install: Callable[[], None], cost: str) -> None:
    if place.stamp.exists() and place.stamp.read_text() == key(place):
        return
    place.stamp.unlink(missing_ok=True)
    place.reason.unlink(missing_ok=True)
    shutil.rmtree(place.folder, ignore_errors=True)
    PEERS.mkdir(exist_ok=True)
    print(f"peers: installing {place.folder.relative_to(PEERS.parent)} ({cost})", flush=True)
    try:
        install()
    except Unavailable as why:
        place.reason.write_text(str(why))
        print(f"peers: {why}; the tests that use {place.name} will be skipped", flush=True)
    else:
        place.stamp.write_text(key(place))


def main() -> None:
    ensure(CLIENT, install_client, "tritonclient, 150 MB")
    ensure(PERF_ANALYZER, install_perf_analyzer, "16 MB to download")
    ensure(PROMETHEUS, install_prometheus, "19 MB to download")


if __name__ == "__main__":
    main()
