"""How a server runs: every option once, with its unit in its name and its help below it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

AtLeastOne = Parameter(validator=Number(gte=1))
Port = Parameter(validator=Number(gte=0, lte=65535))
Seconds = Parameter(validator=Number(gte=0))
Milliseconds = Parameter(validator=Number(gte=0))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """The options of `rnnserve serve`."""

    repository: Path = Path("repository")
    """Folder of models, in Triton's layout."""
    host: str = "127.0.0.1"
    """Address to bind. Loopback unless told otherwise; 0.0.0.0 is every interface."""
    port: Annotated[int, Port] = 8001
    """Port of the gRPC service. 0 takes a free one."""
    metrics_port: Annotated[int, Port] = 8002
    """Port of Prometheus' /metrics. 0 takes a free one."""
    http_port: Annotated[int | None, Port] = None
    """Port of the Open Inference Protocol over HTTP, which is off unless this is given. 0 takes a
    free one."""
    health_port: Annotated[int | None, Port] = None
    """Port of the health service alone, plaintext always, for probes. Off unless this is given; the
    gRPC port answers health too. 0 takes a free one."""
    tls_certificate: Path | None = None
    """PEM file of the gRPC port's certificate chain, with --tls-key; read again when it changes."""
    tls_key: Path | None = None
    """PEM file of the certificate's private key."""
    tls_client_ca: Path | None = None
    """PEM file of the authorities that a client's certificate must come from: mutual TLS."""
    max_connection_age_s: Annotated[float, Seconds] = 0.0
    """Seconds after which a client is told to connect anew, and so may meet servers that joined;
    its calls under way go on. 0: never."""
    model_control: bool = False
    """Whether clients may load and unload models."""
    poll_s: Annotated[float, Seconds] = 0.0
    """Seconds between looks at the repository for models that came, changed or went; 0: only
    SIGHUP makes it look."""
    max_sessions: Annotated[int, AtLeastOne] = 1024
    """Sessions that may be open at once."""
    max_carry_bytes: Annotated[int, AtLeastOne] = 1 << 30
    """What the open sessions may carry in all."""
    idle_timeout_s: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """Seconds without an operation after which a session ends. Not given: what its model's
    max_sequence_idle_microseconds says, otherwise 60."""
    max_life_s: Annotated[float, Seconds] = 0.0
    """Seconds after which a session ends, used or not; 0 is never."""
    max_batch: Annotated[int, AtLeastOne] = 64
    """Rows that run together, at most; a model's own max_batch_size and what its runs are measured
    to cost may lower it."""
    max_block_steps: Annotated[int, AtLeastOne] = 64
    """Steps that a long chunk runs before others get their turn, at most."""
    max_block_ms: Annotated[float, Milliseconds] = 10.0
    """Blocks are cut so that one is expected to take no longer."""
    max_stall_ms: Annotated[float, Milliseconds] = 2.0
    """A run expected to take longer leaves the event loop for a worker thread."""
    run_threads: Annotated[int | None, AtLeastOne] = None
    """Threads for such runs. Not given: as many as cores, by affinity and by CPU quota (cgroup
    v2)."""
    max_chunk_steps: Annotated[int, AtLeastOne] = 4096
    """Steps in one message, at most."""
    max_waiting_steps: Annotated[int, AtLeastOne] = 1_000_000
    """Steps that may wait for their answers before new ones are refused."""
    max_waiting_bytes: Annotated[int, AtLeastOne] = 256 << 20
    """Inputs and outputs of the steps that wait, before new ones are refused."""
    max_frame_bytes: Annotated[int, Parameter(validator=Number(gte=1024, lte=1 << 30))] = 4 << 20
    """Size of one message, at most."""
    grace_s: Annotated[float, Seconds] = 10.0
    """Seconds that open sessions have left after SIGTERM; what was taken in is answered then, and
    the process is gone about 5 s later."""
    trace_endpoint: str | None = None
    """Where spans go, an OTLP collector's gRPC address such as http://127.0.0.1:4317; none are made
    unless this is given. Needs the extra `trace`."""
    trace_share: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.01
    """Share of the steps that get spans of their own in traced calls, beside each call's first; and
    of the unary calls that bring no trace which begin one."""
    log_format: Literal["human", "json"] = "human"
    """How a line of the log looks."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, to standard error."""
