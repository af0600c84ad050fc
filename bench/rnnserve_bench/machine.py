"""What a run was taken on and with. Nothing that names a host, a person or a path."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("rnnserve", "numpy", "onnxruntime", "grpcio", "protobuf", "torch")
GIB = 1 << 30


def machine() -> dict[str, str]:
    """The processor and the memory."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_bytes / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Of Python, of every package that counts, and of the source."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if commit := _commit():
        found["commit"] = commit
    return found


def lines() -> str:
    """Both, as two items of a list."""
    facts = ", ".join(f"{key}: {value}" for key, value in machine().items())
    return f"- {facts}\n- {', '.join(f'{name} {found}' for name, found in versions().items())}"


def _processor() -> str:
    words: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        words.setdefault(key.strip(), value.strip())
    name = words.get("model name", "unknown")
    numbers = [words.get(key, "?") for key in ("cpu family", "model", "stepping")]
    widest = next((w for w in ("avx512f", "avx2", "avx") if w in words.get("flags", "")), "")
    return f"{name} (family {numbers[0]}, model {numbers[1]}, stepping {numbers[2]}) {widest}"


def _commit() -> str:
    """The checkout's commit, with a mark where files differ from it; empty outside of one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        found = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--exclude", "*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
