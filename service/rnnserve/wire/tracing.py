"""What is traced of a call. Who makes spans of it, and of which calls, is not the wire's business.

A call that isn't traced has None for a span, so that a step of it costs one `is None`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from rnnserve.engine.chunk import Listener
from rnnserve.engine.model import Model
from rnnserve.errors import Refusal

Metadata = Iterable[tuple[str, Any]] | None
"""What a caller says beside its messages: keys in lower case, with their values."""


@dataclass(frozen=True)
class Method:
    """What a call calls."""

    name: str
    """As the contract has it: package.Service/Method. Over HTTP: verb and pattern of the path."""
    is_long: bool = False
    """Whether a call of it may have steps without end."""
    is_http: bool = False
    path: str = ""
    """Of a call over HTTP."""


class CallSpan(Protocol):
    """One call's span, and those below it. Called on the event loop; nothing here raises."""

    skips: int
    """So many chunks go by before the next that has spans of its own. Whoever lets one go by counts
    it here: of all that tracing does this alone is done for every chunk."""

    def step(self, listener: Listener, model: Model, asked_s: float) -> Listener:
        """A listener for a chunk that has spans, in front of its own. `asked_s`: when it came, on
        the engine's clock."""

    def generation(self, model: Model, session_id: str) -> None:
        """The call is a generation of this session."""

    def sent(self, tokens: int) -> None:
        """So many more tokens of the generation are on their way."""

    def refused(self, refusal: Refusal) -> None:
        """An operation was answered with an error, and the call goes on."""

    def end(self, code: str, cause: Refusal | None = None) -> None:
        """The call ended with this status code, and for this reason where it failed. `code`:
        gRPC's by its name, or HTTP's; there it is empty where the caller left before it was said.
        """


class Tracer(Protocol):
    """Says which calls are traced."""

    def call(self, method: Method, metadata: Metadata) -> CallSpan | None:
        """A call began; None where it isn't traced. Never raises."""


class Untraced:
    """Traces nothing."""

    def call(self, method: Method, metadata: Metadata) -> None:
        return None


UNTRACED: Tracer = Untraced()
