"""inference.GRPCInferenceService: each call handed to `Inference`, its refusals made statuses."""

import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

from rnnserve.engine.meter import Meter
from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from rnnserve.wire.guard import Context, guarded
from rnnserve.wire.inference.calls import Inference
from rnnserve.wire.inference.stream import InferenceStreams
from rnnserve.wire.inference.texts import code_of
from rnnserve.wire.methods import well_formed
from rnnserve.wire.tracing import UNTRACED, Method, Tracer

R = TypeVar("R")

INFER = Method("inference.GRPCInferenceService/ModelInfer")
STREAM_INFER = Method("inference.GRPCInferenceService/ModelStreamInfer", is_long=True)


class InferenceServicer(GRPCInferenceServiceServicer):
    """The protocol over gRPC."""

    def __init__(self, inference: Inference, meter: Meter, tracer: Tracer = UNTRACED) -> None:
        self._inference = inference
        self._streams = InferenceStreams(inference.requests, meter)
        self._meter = meter
        self._traced = partial(guarded, meter=meter, code_of=code_of, tracer=tracer)

    def cut(self) -> None:
        """End every stream after what is ready for it, and those that still open at once."""
        self._streams.cut(
            Refusal(
                Reason.DRAINING,
                "GRPC server is shutting down and has stopped accepting new requests.",
                retry_after_s=1.0,
            )
        )

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    @property
    def heard(self) -> int:
        """Messages read on streams so far."""
        return self._streams.heard

    async def ServerLive(
        self, request: wire.ServerLiveRequest, context: Context
    ) -> wire.ServerLiveResponse:
        return await self._answer(
            request,
            context,
            lambda: wire.ServerLiveResponse(live=self._inference.server_live()),
        )

    async def ServerReady(
        self, request: wire.ServerReadyRequest, context: Context
    ) -> wire.ServerReadyResponse:
        return await self._answer(
            request,
            context,
            lambda: wire.ServerReadyResponse(ready=self._inference.server_ready()),
        )

    async def ModelReady(
        self, request: wire.ModelReadyRequest, context: Context
    ) -> wire.ModelReadyResponse:
        def ready() -> wire.ModelReadyResponse:
            is_ready = self._inference.model_ready(request.name, request.version)
            return wire.ModelReadyResponse(ready=is_ready)

        return await self._answer(request, context, ready)

    async def ServerMetadata(
        self, request: wire.ServerMetadataRequest, context: Context
    ) -> wire.ServerMetadataResponse:
        return await self._answer(request, context, self._inference.server_metadata)

    async def ModelMetadata(
        self, request: wire.ModelMetadataRequest, context: Context
    ) -> wire.ModelMetadataResponse:
        return await self._answer(
            request,
            context,
            lambda: self._inference.model_metadata(request.name, request.version),
        )

    async def ModelConfig(
        self, request: wire.ModelConfigRequest, context: Context
    ) -> wire.ModelConfigResponse:
        return await self._answer(
            request, context, lambda: self._inference.model_config(request.name, request.version)
        )

    async def ModelStatistics(
        self, request: wire.ModelStatisticsRequest, context: Context
    ) -> wire.ModelStatisticsResponse:
        return await self._answer(
            request,
            context,
            lambda: self._inference.model_statistics(request.name, request.version),
        )

    async def ModelInfer(
        self, request: wire.ModelInferRequest, context: Context
    ) -> wire.ModelInferResponse:
        async with self._traced(context, method=INFER) as span:
            well_formed(request)
            left_s = context.time_remaining()
            timeout_s = math.inf if left_s is None else left_s
            async with self._inference.infer(request, timeout_s, span) as reply:
                return reply

    async def ModelStreamInfer(  # type: ignore[override]
        self, request_iterator: AsyncIterator[wire.ModelInferRequest], context: Context
    ) -> None:
        async with self._traced(context, method=STREAM_INFER) as span:
            await self._streams.serve(request_iterator, context, span)

    async def RepositoryIndex(
        self, request: wire.RepositoryIndexRequest, context: Context
    ) -> wire.RepositoryIndexResponse:
        return await self._answer(
            request,
            context,
            lambda: self._inference.index(
                ready_only=request.ready, repository_name=request.repository_name
            ),
        )

    async def RepositoryModelLoad(
        self, request: wire.RepositoryModelLoadRequest, context: Context
    ) -> wire.RepositoryModelLoadResponse:
        async with guarded(context, self._meter, code_of):
            well_formed(request)
            await self._inference.load(request)
            return wire.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: wire.RepositoryModelUnloadRequest, context: Context
    ) -> wire.RepositoryModelUnloadResponse:
        async with guarded(context, self._meter, code_of):
            well_formed(request)
            await self._inference.unload(request)
            return wire.RepositoryModelUnloadResponse()

    async def _answer(self, request: Any, context: Context, answer: Callable[[], R]) -> R:
        """What a call that has to wait for nothing answers."""
        async with guarded(context, self._meter, code_of):
            well_formed(request)
            return answer()

    async def _not_offered(self, request: Any, context: Context) -> Any:
        """Calls that only make sense on the server's own machine, or on another server."""
        async with guarded(context, self._meter, code_of):
            raise Refusal(Reason.NOT_OFFERED, NOT_OFFERED)

    SystemSharedMemoryStatus = SystemSharedMemoryRegister = _not_offered
    SystemSharedMemoryUnregister = _not_offered
    CudaSharedMemoryStatus = CudaSharedMemoryRegister = _not_offered
    CudaSharedMemoryUnregister = _not_offered
    TraceSetting = LogSettings = _not_offered


NOT_OFFERED = (
    "shared memory, trace and log settings are not offered here: send tensors in the request; "
    "--log-level is for whoever starts the server"
)
