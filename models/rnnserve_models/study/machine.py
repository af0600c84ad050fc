"""What a study was made on and with.  Nothing that names a host, a person or a path."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("rnnserve", "torch", "numpy", "onnxruntime", "scikit-learn")


def machine() -> dict[str, str]:
    """The processor and how many cores of it there are."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Of Python, of every package that counts, and of the source where it is a checkout."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if commit := _commit():
        found["commit"] = commit
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    words = dict(line.replace("\t", "").partition(":")[::2] for line in reversed(lines))
    numbers = ", ".join(f"{key} {words[key].strip()}" for key in ("cpu family", "model"))
    return f"{words.get('model name', 'unknown').strip()} ({numbers})"


def _commit() -> str:
    """The commit, with a mark where files differ from it; empty outside of a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run([*git, "--exclude", "*"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
