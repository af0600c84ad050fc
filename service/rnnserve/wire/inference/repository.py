"""What the protocol may ask of the repository of models, and what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rnnserve.engine.model import Model
from rnnserve.triton import model_config_pb2 as triton


class State(StrEnum):
    """What became of a version that was found. The words are Triton's."""

    READY = "READY"
    LOADING = "LOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Indexed:
    """One version that was found. `version` is 0 where there is none; `reason` says why it is not
    ready."""

    name: str
    version: int
    state: State
    reason: str


class Repository(Protocol):
    """Whoever owns the models of the process."""

    def index(self) -> Sequence[Indexed]:
        """Every version that was found, by name."""

    def config(self, model: Model) -> triton.ModelConfig:
        """The configuration as it stands in the file; the caller's own copy."""

    async def load(self, name: str) -> None:
        """Load a model anew. Raises Refusal: not_offered, unknown_model, model_not_ready."""

    async def unload(self, name: str) -> None:
        """Let a model take no new sessions. Raises Refusal: not_offered, unknown_model."""
