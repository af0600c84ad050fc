"""Every call of the protocol, whatever carries it: messages in, messages out, refusals raised.

A `Refusal` that is raised here has Triton's sentence where Triton has one; its code is
`texts.code_of`.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from rnnserve.engine.engine import Engine
from rnnserve.engine.sequences import Sequences
from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.metadata import filled_config, model_metadata, server_metadata
from rnnserve.wire.inference.models import Models
from rnnserve.wire.inference.repository import Repository, State
from rnnserve.wire.inference.requests import Requests
from rnnserve.wire.inference.statistics import model_statistics
from rnnserve.wire.inference.texts import not_loaded, short, unknown_model, wrong_parameter
from rnnserve.wire.tracing import CallSpan

UNLOAD_DEPENDENTS = "unload_dependents"


class Inference:
    """The Open Inference Protocol over one engine."""

    def __init__(
        self,
        engine: Engine,
        repository: Repository,
        is_ready: Callable[[], bool],
        wall_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._repository = repository
        self.models = Models(engine, repository)
        self.requests = Requests(engine, Sequences(engine), self.models)
        self._is_ready = is_ready
        self._wall_clock_s = wall_clock_s

    @asynccontextmanager
    async def infer(
        self,
        request: wire.ModelInferRequest,
        left_s: float = math.inf,
        span: CallSpan | None = None,
    ) -> AsyncIterator[wire.ModelInferResponse]:
        """One request's reply; what is done with it inside is the time that it takes to reply.
        `left_s`: how long it is of use. A caller that is cancelled leaves a step that was taken to
        happen, and gets nothing of it."""
        ready_s = 0.0
        reply: asyncio.Future[wire.ModelInferResponse] = asyncio.get_running_loop().create_future()

        def told(outcome: wire.ModelInferResponse | Exception) -> None:
            nonlocal ready_s
            if reply.done():
                return
            ready_s = self._engine.now_s()
            if isinstance(outcome, Exception):
                reply.set_exception(outcome)
            else:
                reply.set_result(outcome)

        self.requests.take(request, told, left_s, span)
        message = await reply
        yield message
        self._engine.meter.replied(message.model_name, 1, self._engine.now_s() - ready_s)

    def server_live(self) -> bool:
        return True

    def server_ready(self) -> bool:
        """Whether new sequences are taken."""
        return self._is_ready()

    def model_ready(self, name: str, version: str) -> bool:
        """Raises Refusal (unknown_model): a model that isn't there is an error, not unready."""
        try:
            self.models.find(name, version)
        except Refusal as refusal:
            if refusal.reason is Reason.MODEL_NOT_READY:
                return False
            raise
        return self._is_ready()

    def server_metadata(self) -> wire.ServerMetadataResponse:
        return server_metadata()

    def model_metadata(self, name: str, version: str) -> wire.ModelMetadataResponse:
        """Raises Refusal: bad_parameter, unknown_model, model_not_ready."""
        model = self.models.find(name, version)
        versions = [model.spec.version] if version else self._engine.served.versions(name)
        return model_metadata(model, self._repository.config(model), versions)

    def model_config(self, name: str, version: str) -> wire.ModelConfigResponse:
        """Raises Refusal: bad_parameter, unknown_model, model_not_ready."""
        model = self.models.find(name, version)
        config = filled_config(self._engine, model, self._repository.config(model))
        return wire.ModelConfigResponse(config=config)

    def model_statistics(self, name: str, version: str) -> wire.ModelStatisticsResponse:
        """Of all models where no name is given, of all versions where no version is.

        Raises Refusal: bad_parameter, unknown_model, model_not_ready.
        """
        now_s = self._engine.now_s()
        return wire.ModelStatisticsResponse(
            model_stats=[
                model_statistics(model, now_s, self._wall_clock_s)
                for model in self.models.all(name, version)
            ]
        )

    def index(self, *, ready_only: bool, repository_name: str = "") -> wire.RepositoryIndexResponse:
        """Every version that was found, and what became of it. Raises Refusal (not_offered)."""
        _check_repository(repository_name)
        return wire.RepositoryIndexResponse(
            models=[
                wire.RepositoryIndexResponse.ModelIndex(
                    name=entry.name,
                    version=str(entry.version) if entry.version else "",
                    state=entry.state,
                    reason=entry.reason,
                )
                for entry in self._repository.index()
                if entry.state is State.READY or not ready_only
            ]
        )

    async def load(self, request: wire.RepositoryModelLoadRequest) -> None:
        """Raises Refusal: not_offered, unknown_model, model_not_ready."""
        _check_repository(request.repository_name)
        if request.parameters:
            raise Refusal(
                Reason.NOT_OFFERED,
                "a model is loaded as it lies in the repository: the parameters "
                f"{[short(key) for key in sorted(request.parameters)[:4]]} are not offered",
            )
        with _about(request.model_name):
            await self._repository.load(request.model_name)

    async def unload(self, request: wire.RepositoryModelUnloadRequest) -> None:
        """`unload_dependents` changes nothing: no model depends on another.

        Raises Refusal: not_offered, bad_parameter, unknown_model.
        """
        _check_repository(request.repository_name)
        for key, value in request.parameters.items():
            if key != UNLOAD_DEPENDENTS:
                raise Refusal(Reason.NOT_OFFERED, f"the parameter {key[:80]!r} is not offered")
            if value.WhichOneof("parameter_choice") != "bool_param":
                raise wrong_parameter(key, "bool_param")
        with _about(request.model_name):
            await self._repository.unload(request.model_name)


def _check_repository(name: str) -> None:
    """Raises Refusal (not_offered): there is one, and it has no name."""
    if name:
        raise Refusal(Reason.NOT_OFFERED, "'repository_name' specification is not supported")


@contextmanager
def _about(model: str) -> Iterator[None]:
    """What the repository refuses is refused in this protocol's words."""
    try:
        yield
    except Refusal as refusal:
        match refusal.reason:
            case Reason.UNKNOWN_MODEL:
                raise unknown_model(model) from None
            case Reason.MODEL_NOT_READY:
                raise not_loaded(model, refusal.message) from None
            case _:
                raise
