"""What a load is, before anything is sent."""

from dataclasses import dataclass, replace

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.tls import Tls
from rnnserve_bench.traffic.draws import Lengths, Think
from rnnserve_bench.traffic.rate import Rate

SINGLE_STEPS, AT_ONCE = Lengths((1,)), Think()


@dataclass(frozen=True)
class Plan:
    """Sessions against one server, and when they send."""

    target: str
    model: str
    tls: Tls | None = None
    """None: plaintext."""
    version: int = 0
    """0: the newest."""
    sessions: int = 64
    streams: int = 16
    connections: int = 1
    frame: int = 1
    """Sessions whose steps travel together in one message."""
    lengths: Lengths = SINGLE_STEPS
    rate: Rate | None = None
    """Chunks a second, in all. None is a closed loop: a session sends when it has its answer and
    has thought."""
    poisson: bool = True
    phase: float = 0.5
    """Where between two arrivals of an even rate this generator's are."""
    think: Think = AT_ONCE
    ramp_s: float = 0.0
    """Of a closed loop: until all sessions have begun."""
    duration_s: float = 10.0
    warm_s: float = 0.0
    """Sent, and not counted."""
    settle_s: float = 5.0
    """How long to wait for answers once nothing more is sent."""
    timeout_s: float = 0.0
    """What each step tells the server it has time for; 0 is no limit."""
    free_size: int = 8
    """Of dimensions that each step may choose."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sessions % self.frame:
            raise BenchProblem(
                f"{self.sessions} sessions don't fill frames of {self.frame}: --sessions has to be "
                "a multiple of --frame"
            )
        if self.warm_s >= self.duration_s:
            raise BenchProblem("nothing is left to be measured: --warm-s is not below --duration-s")

    @property
    def groups(self) -> int:
        """Of sessions that share their messages."""
        return self.sessions // self.frame

    @property
    def is_open(self) -> bool:
        return self.rate is not None

    def share(self, place: int, workers: int) -> "Plan":
        """What worker number `place` of so many does; together they do the whole."""
        groups = _part(self.groups, place, workers)
        return replace(
            self,
            sessions=groups * self.frame,
            streams=max(1, min(_part(self.streams, place, workers), groups)),
            connections=max(1, _part(self.connections, place, workers)),
            rate=None if self.rate is None else self.rate.scaled(groups / self.groups),
            phase=(place + 0.5) / workers,
            seed=self.seed * 1000 + place,
        )


def _part(count: int, place: int, workers: int) -> int:
    """Shares differ by one at most."""
    return count * (place + 1) // workers - count * place // workers
