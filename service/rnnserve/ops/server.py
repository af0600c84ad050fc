"""A server's life: start, serve until told to stop, drain, stop.

The order of the stop: not ready, new sessions refused; open sessions have `grace_s` to end; streams
that are left are cut after what is ready for them; gRPC, the tickers, the metrics port.
"""

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rnnserve.engine.audit import audit
from rnnserve.engine.backlog import Backlog, BacklogLimits
from rnnserve.engine.engine import Engine
from rnnserve.engine.meter import Cause
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import OperatorError
from rnnserve.ops.cores import usable_cores
from rnnserve.ops.grpc_port import GrpcPort
from rnnserve.ops.hosting import Hosting
from rnnserve.ops.loading import Loader
from rnnserve.ops.metrics import Metrics
from rnnserve.ops.watch import Watch
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

logger = logging.getLogger(__name__)

CUT_GRACE_S = 1.0
LOOK_EVERY_S = 0.1
THREADS_ASIDE = 4
"""What isn't a run (loading, long prompts) has so many threads more than there are for runs."""
RUN_NICENESS = 5
"""Of the threads that run long batches."""


class Server:
    """One process's server. Owns the loop's tasks, the ports and the worker threads."""

    def __init__(self, settings: ServeSettings) -> None:
        """Load the models. Raises OperatorError when there is nothing to serve."""
        self._settings = settings
        self._metrics = Metrics()
        self._threads = settings.run_threads or usable_cores()
        self._executor = ThreadPoolExecutor(self._threads, "run", initializer=yield_to_loop)
        logger.info("long batches run on %d threads", self._threads)
        backlog = Backlog(BacklogLimits(settings.max_waiting_steps, settings.max_waiting_bytes))
        loader = Loader(settings, backlog, self._metrics, self._executor)
        self._hosting = Hosting(settings, loader, self._metrics)
        self.engine = Engine(
            self._hosting.load_all(),
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
        generations = Generations(self.engine, self._hosting.tokenizers)
        self._servicer = Servicer(
            Streams(Operations(self.engine, settings.max_frame_bytes)),
            generations,
            Catalogue(self._hosting),
            partial(audit, self.engine),
            self._metrics,
        )
        inference = Inference(self.engine, self._hosting, lambda: self._is_ready)
        self._inference = InferenceServicer(inference, self._metrics)
        routes = Routes(inference, generations, inference.models, self._metrics)
        self._http = HttpServer(
            routes.table(), self._metrics, max_body_bytes=settings.max_frame_bytes
        )

    def look_again(self) -> None:
        """Look at the repository now, and serve what has changed there."""
        self._watch.ask()

    async def serve(self, stop: asyncio.Event, stop_hard: asyncio.Event) -> None:
        """Serve until `stop` is set and the drain is over, or until `stop_hard` is.

        Raises OperatorError when a port can't be had, and whatever ended a ticker.
        """
        servicers = [(SERVICE, self._servicer), (INFERENCE, self._inference)]
        grpc_port = GrpcPort(self._settings, servicers)
        try:
            metrics_port = self._metrics.serve(self._settings.host, self._settings.metrics_port)
        except OSError as error:
            raise OperatorError(f"--metrics-port {self._settings.metrics_port}: {error}") from None
        aside = ThreadPoolExecutor(self._threads + THREADS_ASIDE, "aside")
        asyncio.get_running_loop().set_default_executor(aside)
        calm_collector()
        self._hosting.start(self.engine)
        looking_after = asyncio.create_task(self._look_after())
        watching = asyncio.create_task(self._watch.run())
        try:
            await grpc_port.start()
            await self._start_http()
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
            await _first(stop, stop_hard, self._hosting.failed)
            self._hosting.raise_failure()
            self._is_ready = False
            await grpc_port.set_not_ready()
            await self._drain(stop_hard)
            await asyncio.gather(self._http.stop(CUT_GRACE_S), grpc_port.stop(CUT_GRACE_S))
        finally:
            looking_after.cancel()
            watching.cancel()
            await asyncio.gather(
                looking_after, watching, self._hosting.stop(), return_exceptions=True
            )
            await asyncio.gather(self._http.stop(0.0), grpc_port.stop(None))
            self._executor.shutdown(wait=True, cancel_futures=True)
            metrics_port.close()
        logger.info("stopped")

    async def _start_http(self) -> None:
        """Serve the protocol over HTTP too, where that was asked for."""
        port = self._settings.http_port
        if port is None:
            return
        try:
            bound = await self._http.start(self._settings.host, port)
        except OSError as error:
            raise OperatorError(f"--http-port {port}: {error}") from None
        logger.info(
            "the Open Inference Protocol over HTTP: http://%s:%d/v2", self._settings.host, bound
        )

    async def _drain(self, stop_hard: asyncio.Event) -> None:
        """Refuse new sessions and wait, within the grace, until the open ones have ended."""
        self.engine.drain()
        until_s = time.monotonic() + self._settings.grace_s
        logger.info("draining: %d sessions open", len(self.engine.table))
        while self.engine.has_callers and time.monotonic() < until_s and not stop_hard.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop_hard.wait(), LOOK_EVERY_S)
        if cut := len(self.engine.table):
            logger.warning("%d sessions are cut", cut)
        self._servicer.cut()
        self._inference.cut()
        self.engine.table.end_all(Cause.DRAINED)

    async def _look_after(self) -> None:
        """End idle sessions, and measure how late the loop wakes up."""
        while True:
            asked_s = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)
            self._metrics.lagged(time.monotonic() - asked_s - LOOK_EVERY_S)
            self.engine.table.expire()
            self._hosting.retire()


def yield_to_loop() -> None:
    """Let the loop and gRPC's threads go first where they share a core with this thread's runs."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), RUN_NICENESS)


def calm_collector() -> None:
    """Let the garbage collector look at what lives short, and seldom at all.

    What was loaded stays; a step makes objects, but hardly ever a cycle of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
