"""On what terms all contestants of a run are measured."""

from dataclasses import dataclass, replace
from typing import Any

from rnnserve_bench.channels import LIGHT
from rnnserve_bench.load import Load, Span
from rnnserve_bench.models import VOCABULARY
from rnnserve_bench.process import ServerProcess
from rnnserve_bench.rig import Rig
from rnnserve_bench.sample import Sample


@dataclass(frozen=True)
class Terms:
    """The rig, each window's length, and how large the loads without a window are."""

    rig: Rig
    span: Span
    echo_method: str
    """The way in which the bare wire's handler is written."""
    tokens: int
    """What each Generate call asks for."""
    sessions: int
    """Open at once when memory is measured."""
    client: str = LIGHT
    """Which client makes the load: see `channels`."""

    def scaled(self, share: float) -> "Terms":
        """The same with windows of that share of the length."""
        span = Span(self.span.warm_s * share, self.span.measure_s * share)
        return replace(self, span=span)

    def load(
        self,
        server: ServerProcess,
        target: str,
        model: str,
        *,
        streams: int = 1,
        chunk_steps: int = 1,
        sequences: int = 1,
    ) -> Load:
        """A load on these terms."""
        return Load(
            target=target,
            pids=server.pids,
            model=model,
            vocabulary=VOCABULARY,
            span=self.span,
            streams=streams,
            chunk_steps=chunk_steps,
            sequences=sequences,
            client=self.client,
        )

    def on_server_core(self, measure: Any, *arguments: Any) -> Sample:
        """Run it in the worker that shares the servers' core. Raises BenchProblem."""
        sample: Sample = self.rig.on_server_core.call(measure, *arguments)
        return sample

    def on_client_core(self, measure: Any, *arguments: Any) -> Sample:
        """Run it in the worker that makes the load. Raises BenchProblem."""
        sample: Sample = self.rig.on_client_core.call(measure, *arguments)
        return sample
