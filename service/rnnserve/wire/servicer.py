"""rnnserve.v1.RnnServe: each call handed to the file that knows about it."""

import asyncio
from collections.abc import AsyncIterator, Callable

from rnnserve.engine.audit import Audit
from rnnserve.engine.meter import Meter
from rnnserve.errors import Reason, Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1.rnnserve_pb2_grpc import RnnServeServicer
from rnnserve.wire.catalogue import Catalogue
from rnnserve.wire.generate import Generations
from rnnserve.wire.guard import Context, guarded
from rnnserve.wire.methods import well_formed
from rnnserve.wire.stream import Streams
from rnnserve.wire.tracing import UNTRACED, Method, Tracer

STREAM = Method("rnnserve.v1.RnnServe/Stream", is_long=True)
EXCHANGE = Method("rnnserve.v1.RnnServe/Exchange")
GENERATE = Method("rnnserve.v1.RnnServe/Generate", is_long=True)


class Servicer(RnnServeServicer):
    """The native API."""

    def __init__(
        self,
        streams: Streams,
        generations: Generations,
        catalogue: Catalogue,
        audit: Callable[[], Audit],
        meter: Meter,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._streams = streams
        self._generations = generations
        self._catalogue = catalogue
        self._audit = audit
        self._meter = meter
        self._tracer = tracer

    def drain(self, left_s: float) -> None:
        """Tell the streams how long the open sessions have."""
        self._streams.drain(left_s)

    def cut_generations(self) -> None:
        """End every generation after the tokens that are made."""
        self._generations.cut(_stopping())

    def cut(self) -> None:
        """End every stream after what is ready for it, and those that still open at once."""
        self._streams.cut(_stopping())

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    @property
    def heard(self) -> int:
        """Messages read on streams so far."""
        return self._streams.heard

    async def Stream(  # type: ignore[override]
        self, request_iterator: AsyncIterator[v1.OperationFrame], context: Context
    ) -> None:
        async with guarded(context, self._meter, tracer=self._tracer, method=STREAM) as span:
            await self._streams.serve(request_iterator, context, span)

    async def Exchange(self, request: v1.OperationFrame, context: Context) -> v1.EventFrame:
        async with guarded(context, self._meter, tracer=self._tracer, method=EXCHANGE) as span:
            return await self._streams.exchange(request, context, span)

    async def Generate(  # type: ignore[override]
        self, request: v1.GenerateRequest, context: Context
    ) -> None:
        async with guarded(context, self._meter, tracer=self._tracer, method=GENERATE) as span:
            well_formed(request)
            await self._generations.serve(request, context, span)

    async def ListModels(
        self, request: v1.ListModelsRequest, context: Context
    ) -> v1.ListModelsReply:
        async with guarded(context, self._meter):
            return self._catalogue.list()

    async def DescribeModel(
        self, request: v1.DescribeModelRequest, context: Context
    ) -> v1.ModelDescription:
        async with guarded(context, self._meter):
            well_formed(request)
            return self._catalogue.describe(request.model, request.version)

    async def Audit(self, request: v1.AuditRequest, context: Context) -> v1.AuditReply:
        async with guarded(context, self._meter):
            found = self._audit()
            return v1.AuditReply(
                problems=found.problems,
                sessions=found.sessions,
                waiting_steps=found.waiting_steps,
                waiting_bytes=found.waiting_bytes,
                generations=found.generations,
                tasks=len(asyncio.all_tasks()),
            )


def _stopping() -> Refusal:
    return Refusal(Reason.DRAINING, "the server is stopping", retry_after_s=1.0)
