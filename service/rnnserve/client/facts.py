"""What a server says about its models, its limits and itself."""

from dataclasses import dataclass

from rnnserve.client.codec import Tensor, read_tensor
from rnnserve.v1 import rnnserve_pb2 as pb


@dataclass(frozen=True)
class Limits:
    """What one session may ask for; see the contract for each."""

    max_chunk_steps: int
    max_pending_chunks: int
    kept_replies: int
    idle_timeout_s: float
    max_frame_bytes: int
    max_frame_operations: int
    max_life_s: float
    """0: none."""
    max_forks: int


@dataclass(frozen=True)
class Cost:
    """One run on the server: `rows` sessions, `steps` of each."""

    rows: int
    steps: int
    run_us: float
    measured: bool
    """It was run; otherwise it follows from others that were."""

    @property
    def step_us(self) -> float:
        """Microseconds a step and row."""
        return self.run_us / (self.rows * self.steps)


@dataclass(frozen=True)
class Costs:
    """What a model costs on its server, measured when it was loaded, and what follows from it."""

    runs: tuple[Cost, ...]
    max_rows: int
    """Rows that run together, at most."""
    alone_block_steps: int
    """The longest block of one row."""
    full_block_steps: int
    """The longest block of `max_rows` rows."""
    max_stall_us: float
    """A run expected to take longer leaves the server's loop for a worker thread."""
    max_block_us: float
    """Blocks are cut to take no longer."""


@dataclass(frozen=True)
class Model:
    """One version of a model that is ready to be served."""

    name: str
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    carry: tuple[Tensor, ...]
    carry_bytes: int
    """What one session keeps."""
    has_tokenizer: bool
    fingerprint: str
    """SHA-256 of the graph, hexadecimal."""
    card_json: str
    """The training card, or empty."""
    tokenizer_json: str
    """Only from `describe`; empty where there is none."""
    costs: Costs | None
    """Only from `describe`."""


@dataclass(frozen=True)
class BrokenModel:
    """A model on the server's disk that could not be loaded."""

    name: str
    version: int
    problem: str


@dataclass(frozen=True)
class Models:
    """All of them."""

    ready: tuple[Model, ...]
    broken: tuple[BrokenModel, ...]


@dataclass(frozen=True)
class Audit:
    """What the server found when it held its tables against each other."""

    problems: tuple[str, ...]
    """Empty when all is sound."""
    sessions: int
    waiting_steps: int
    waiting_bytes: int
    generations: int
    tasks: int
    """Of the server's loop: those of the calls under way, and a few that it always has."""


def read_limits(message: pb.Limits) -> Limits:
    return Limits(
        max_chunk_steps=message.max_chunk_steps,
        max_pending_chunks=message.max_pending_chunks,
        kept_replies=message.kept_replies,
        idle_timeout_s=message.idle_timeout_s,
        max_frame_bytes=message.max_frame_bytes,
        max_frame_operations=message.max_frame_operations,
        max_life_s=message.max_life_s,
        max_forks=message.max_forks,
    )


def read_model(message: pb.ModelDescription) -> Model:
    return Model(
        name=message.model,
        version=message.version,
        inputs=tuple(map(read_tensor, message.inputs)),
        outputs=tuple(map(read_tensor, message.outputs)),
        carry=tuple(map(read_tensor, message.carry)),
        carry_bytes=message.carry_bytes,
        has_tokenizer=message.has_tokenizer,
        fingerprint=message.fingerprint,
        card_json=message.card_json,
        tokenizer_json=message.tokenizer_json,
        costs=read_costs(message.costs) if message.HasField("costs") else None,
    )


def read_costs(message: pb.Costs) -> Costs:
    return Costs(
        runs=tuple(Cost(run.rows, run.steps, run.run_us, run.measured) for run in message.runs),
        max_rows=message.max_rows,
        alone_block_steps=message.alone_block_steps,
        full_block_steps=message.full_block_steps,
        max_stall_us=message.max_stall_us,
        max_block_us=message.max_block_us,
    )


def read_models(message: pb.ListModelsReply) -> Models:
    return Models(
        ready=tuple(map(read_model, message.models)),
        broken=tuple(
            BrokenModel(broken.model, broken.version, broken.problem) for broken in message.broken
        ),
    )


def read_audit(message: pb.AuditReply) -> Audit:
    return Audit(
        problems=tuple(message.problems),
        sessions=message.sessions,
        waiting_steps=message.waiting_steps,
        waiting_bytes=message.waiting_bytes,
        generations=message.generations,
        tasks=message.tasks,
    )
