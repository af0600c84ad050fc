"""Where the peers lie, and whether they are there."""

from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / ".peers"


@dataclass(frozen=True)
class Place:
    """One peer's folder. Its stamp is written last, so that half an installation never counts."""

    name: str

    @property
    def folder(self) -> Path:
        return PEERS / self.name

    @property
    def pins(self) -> Path:
        """The releases it is made of, as pip's requirements; for Prometheus, Debian's package."""
        return HERE / f"{self.name}.txt"

    @property
    def stamp(self) -> Path:
        """Holds the key that the installation was made for."""
        return PEERS / f"{self.name}.stamp"

    @property
    def reason(self) -> Path:
        """Holds one sentence where the peer can't be had."""
        return PEERS / f"{self.name}.missing"

    def require(self) -> None:
        """Skip the test that asks, with the reason, unless the peer is installed."""
        if self.stamp.exists():
            return
        if self.reason.exists():
            pytest.skip(self.reason.read_text())
        pytest.skip(f"{self.name} is not installed: make peers")


CLIENT = Place("client")
CLIENT_PYTHON = CLIENT.folder / "bin" / "python"
PERF_ANALYZER = Place("perf_analyzer")
PERF_ANALYZER_PROGRAM = PERF_ANALYZER.folder / "perf_analyzer"
PROMETHEUS = Place("prometheus")
PROMETHEUS_PROGRAM = PROMETHEUS.folder / "prometheus"
PROMTOOL_PROGRAM = PROMETHEUS.folder / "promtool"
