"""A child process on one core that runs the measures it is sent.

A child, so that what one measure imports or leaves behind touches no other, and so that this
process's progress display runs beside none of them.
"""

import asyncio
import inspect
import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from rnnserve_bench.cores import pinned
from rnnserve_bench.errors import BenchProblem

T = TypeVar("T")

CALL_TIMEOUT_S = 180.0
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GRPC_VERBOSITY": "ERROR",
}


class Worker:
    """Runs module-level functions, plain or async, one at a time; ended by `close`."""

    def __init__(self, core: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        os.environ.update(ONE_THREAD)
        with pinned(core):
            self._process.start()
        theirs.close()

    def call(self, measure: Callable[..., Any], *arguments: Any) -> Any:
        """What `measure(*arguments)` returns; an async one is awaited over there.

        Raises BenchProblem when it raises, dies, or takes longer than CALL_TIMEOUT_S; the other
        side's traceback is a note on it.
        """
        self._pipe.send((measure, arguments))
        if not self._pipe.poll(CALL_TIMEOUT_S):
            raise BenchProblem(f"{measure.__qualname__} took longer than {CALL_TIMEOUT_S:.0f} s")
        try:
            result, problem = self._pipe.recv()
        except (EOFError, OSError):
            raise BenchProblem(f"the process that ran {measure.__qualname__} has died") from None
        if problem is not None:
            raise problem
        return result

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection) -> None:
    # One loop for all measures: gRPC's poller is bound to the first that it meets.
    with asyncio.Runner() as runner:
        while True:
            try:
                measure, arguments = pipe.recv()
                pipe.send(_outcome(runner, measure, arguments))
            except (EOFError, BrokenPipeError):  # the other side has gone
                return


def _outcome(
    runner: asyncio.Runner, measure: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, BenchProblem | None]:
    """What the measure returned, or what to raise on the other side."""
    try:
        result = measure(*arguments)
        return (runner.run(result) if inspect.iscoroutine(result) else result), None
    except Exception as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        problem = BenchProblem(f"{type(first).__name__}: {first}")
        problem.add_note(traceback.format_exc())
        return None, problem
