"""A server's life: load, serve until told to stop, drain, stop.

What was begun ends in the reverse order: the ports of the callers, the tickers, the threads of long
runs, the metrics port, the health port. `drain.py` has what comes before: how the callers leave.
"""

import asyncio
import gc
import logging
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from rnnserve.engine.audit import audit
from rnnserve.engine.backlog import Backlog, BacklogLimits
from rnnserve.engine.engine import Engine
from rnnserve.engine.meter import Cause
from rnnserve.engine.occupancy import occupancy
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import OperatorError
from rnnserve.ops.cores import usable_cores
from rnnserve.ops.drain import WRITE_S, drain
from rnnserve.ops.grpc_port import GrpcPort
from rnnserve.ops.health_port import Health, HealthPort
from rnnserve.ops.hosting import Hosting
from rnnserve.ops.life import Life, first
from rnnserve.ops.loading import Loader
from rnnserve.ops.logs import log_session
from rnnserve.ops.metrics import Metrics, MetricsPort
from rnnserve.ops.tls import Certificates, tls_files
from rnnserve.ops.watch import Watch
from rnnserve.ops.workers import Workers
from rnnserve.settings import ServeSettings
from rnnserve.wire.catalogue import Catalogue
from rnnserve.wire.generate import Generations
from rnnserve.wire.http.routes import Routes
from rnnserve.wire.http.server import HttpServer
from rnnserve.wire.inference.calls import Inference
from rnnserve.wire.inference.servicer import InferenceServicer
from rnnserve.wire.methods import INFERENCE, SERVICE
from rnnserve.wire.operations import Operations
from rnnserve.wire.servicer import Servicer
from rnnserve.wire.stream import Streams
from rnnserve.wire.tracing import UNTRACED

if TYPE_CHECKING:
    from rnnserve.ops.tracing import Tracing

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
SWITCH_S = 0.0005
"""A thread that comes back from a run waits no longer than this for a loop that is busy refusing.
With Python's own 5 ms, a flood of three times the peak cost a third of the good work."""
SERVICES = (SERVICE.full_name, INFERENCE.full_name)


class Server:
    """One process's server. Owns the loop's tasks, the ports and the worker threads."""

    def __init__(self, settings: ServeSettings) -> None:
        """Put it together, without its models. Raises OperatorError for an unfit certificate, and
        where traces can't be sent as asked for."""
        self._settings = settings
        self._metrics = Metrics(log_session)
        files = tls_files(settings)
        self._certificates = (
            Certificates(files, self._metrics.certificate_expires) if files is not None else None
        )
        self._workers = Workers(settings.run_threads or usable_cores())
        backlog = Backlog(BacklogLimits(settings.max_waiting_steps, settings.max_waiting_bytes))
        loader = Loader(settings, backlog, self._metrics, self._workers.runs)
        self._hosting = Hosting(settings, loader, self._metrics)
        self.engine = Engine(
            (),
            table=TableLimits(
                settings.max_sessions,
                settings.max_carry_bytes,
                max_life_s=settings.max_life_s,
            ),
            sessions=SessionLimits(max_chunk_steps=settings.max_chunk_steps),
            backlog=backlog,
            meter=self._metrics,
        )
        self._watch = Watch(settings.repository, self._hosting, settings.poll_s)
        self._is_ready = False
        self._health = Health(SERVICES, lambda: self._is_ready)
        generations = Generations(self.engine, self._hosting.tokenizers)
        self._tracing = _tracing(settings)
        tracer = self._tracing.spans if self._tracing is not None else UNTRACED
        self._servicer = Servicer(
            Streams(Operations(self.engine, settings.max_frame_bytes)),
            generations,
            Catalogue(self._hosting),
            partial(audit, self.engine),
            self._metrics,
            tracer,
        )
        inference = Inference(self.engine, self._hosting, lambda: self._is_ready)
        self._inference = InferenceServicer(inference, self._metrics, tracer)
        routes = Routes(inference, generations, inference.models, self._metrics)
        self._http = HttpServer(
            routes.table(),
            self._metrics,
            max_body_bytes=settings.max_frame_bytes,
            tracer=tracer,
        )

    def look_again(self) -> None:
        """Look at the repository now, and serve what has changed there."""
        self._watch.ask()

    async def serve(self, stop: asyncio.Event) -> None:
        """Load the models and serve them until `stop` is set and the drain is over. Where it is set
        before they are loaded, nothing is served.

        Raises OperatorError when there is nothing to serve or a port can't be had, and whatever
        ended a ticker.
        """
        asyncio.get_running_loop().set_default_executor(self._workers.aside)
        async with Life() as life:
            self._open_health_port(life)
            metrics_port = self._open_metrics_port(life)
            life.accompany(self._turn())
            if await self._load(stop):
                await self._serve(life, stop, metrics_port)
        self._workers.dismiss()
        logger.info("stopped")

    async def _load(self, stop: asyncio.Event) -> bool:
        """Load the models in a thread, so that signals and probes are answered meanwhile. False
        where told to stop before they are loaded: a thread can't be."""
        loading = asyncio.create_task(asyncio.to_thread(self._hosting.load_all))
        await first(stop.wait(), loading)
        if not loading.done() or loading.cancelled():
            return False
        for model in loading.result():
            self.engine.served.add(model)
        calm_collector()
        sys.setswitchinterval(SWITCH_S)
        return True

    async def _serve(self, life: Life, stop: asyncio.Event, metrics_port: MetricsPort) -> None:
        life.callback(self._workers.dismiss)
        if self._tracing is not None:
            life.push_async_callback(asyncio.to_thread, self._tracing.close)
        self._hosting.start(self.engine)
        self._look()
        life.push_async_callback(self._hosting.stop)
        life.accompany(self._look_after())
        life.accompany(self._watch.run())
        servicers = [(SERVICE, self._servicer), (INFERENCE, self._inference)]
        credentials = None
        if self._certificates is not None:
            credentials = self._certificates.credentials()
            life.accompany(self._certificates.follow())
        grpc_port = GrpcPort(self._settings, servicers, credentials)
        life.push_async_callback(grpc_port.stop, None)
        await grpc_port.start()
        await self._start_http(life)
        self._is_ready = True
        await grpc_port.set_ready()
        logger.info(
            "rnnserve is ready: grpc %s:%d, metrics http://%s:%d/metrics, models: %s",
            self._settings.host,
            grpc_port.port,
            self._settings.host,
            metrics_port.port,
            ", ".join(self.engine.served.names()),
        )
        await first(stop.wait(), self._hosting.failed.wait())
        if self._hosting.failed.is_set():
            self.engine.table.end_all(Cause.FAILED)
            self._hosting.raise_failure()
        self._is_ready = False
        await grpc_port.set_not_ready()
        await drain(self.engine, self._servicer, self._inference, self._settings.grace_s)
        await asyncio.gather(self._http.stop(WRITE_S), grpc_port.stop(WRITE_S))

    def _open_health_port(self, life: Life) -> None:
        """Answer probes, where that was asked for."""
        port = self._settings.health_port
        if port is None:
            return
        health_port = HealthPort(self._settings.host, port, self._health)
        life.callback(health_port.close)
        logger.info("health alone: grpc %s:%d", self._settings.host, health_port.port)

    def _open_metrics_port(self, life: Life) -> MetricsPort:
        port = self._settings.metrics_port
        try:
            metrics_port = self._metrics.serve(self._settings.host, port)
        except OSError as error:
            raise OperatorError(f"--metrics-port {port}: {error}") from None
        life.callback(metrics_port.close)
        return metrics_port

    async def _start_http(self, life: Life) -> None:
        """Serve the protocol over HTTP too, where that was asked for."""
        port = self._settings.http_port
        if port is None:
            return
        life.push_async_callback(self._http.stop, 0.0)
        try:
            bound = await self._http.start(self._settings.host, port)
        except OSError as error:
            raise OperatorError(f"--http-port {port}: {error}") from None
        logger.info(
            "the Open Inference Protocol over HTTP: http://%s:%d/v2", self._settings.host, bound
        )

    async def _turn(self) -> None:
        """Say that the loop turns, and measure how late it wakes up."""
        while True:
            asked_s = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)
            self._metrics.lagged(time.monotonic() - asked_s - LOOK_EVERY_S)
            self._health.turned()

    async def _look_after(self) -> None:
        """End idle sessions, and let go of models that have retired."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.engine.table.expire()
            self._hosting.retire()
            self._look()

    def _look(self) -> None:
        """Show how full the house is."""
        streams = self._servicer.streams
        self._metrics.look(occupancy(self.engine), streams, self._hosting.index())


def _tracing(settings: ServeSettings) -> "Tracing | None":
    """Where spans are made, if they are. Raises OperatorError."""
    if settings.trace_endpoint is None:
        return None
    try:
        # Half a second to load, and no part of the serving install.
        from rnnserve.ops.tracing import Tracing
    except ModuleNotFoundError:
        raise OperatorError(
            "--trace-endpoint needs OpenTelemetry: pip install 'rnnserve[trace]'"
        ) from None
    return Tracing(settings.trace_endpoint, settings.trace_share)


def calm_collector() -> None:
    """Let the garbage collector look at what lives short, and seldom at all.

    What was loaded stays; a step makes objects, but hardly ever a cycle of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
