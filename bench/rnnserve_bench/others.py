"""Contestants that serve, and aren't rnnserve: the bare wire and Triton."""

from collections.abc import Awaitable, Callable

from rnnserve_bench.contest import Run
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.frame_load import FrameShape, echo_frames
from rnnserve_bench.load import Load
from rnnserve_bench.models import BenchModel
from rnnserve_bench.sample import Sample
from rnnserve_bench.session_talk import echo_streams
from rnnserve_bench.terms import Terms
from rnnserve_bench.triton import MODEL
from rnnserve_bench.triton_talk import triton_streams, triton_unary

ATTEMPTS = 3
CRASH_TAKES_S = 5.0
CRASHES = "crashes"
Measure = Callable[[Load], Awaitable[Sample]]


def bare(terms: Terms, streams: int, chunk_steps: int = 1, method: str = "") -> Run:
    """The bare wire, with messages of the size that rnnserve's have."""
    server = terms.rig.echo()
    load = terms.load(
        server,
        server.target,
        method or terms.echo_method,
        streams=streams,
        chunk_steps=chunk_steps,
    )
    return lambda: terms.on_client_core(echo_streams, load)


def bare_frames(terms: Terms, shape: FrameShape) -> Run:
    """The bare wire, with messages of a frame's size."""
    server = terms.rig.echo()
    load = terms.load(server, server.target, terms.echo_method)
    return lambda: terms.on_client_core(echo_frames, load, shape)


def triton(terms: Terms, model: BenchModel, streams: int, sequences: int = 1) -> Run:
    """Triton over streams, with as many sequences on each. Raises BenchProblem: not installed."""
    return _restarted(terms, model, triton_streams, streams=streams, sequences=sequences)


def triton_calls(terms: Terms, model: BenchModel, calls: int) -> Run:
    """Triton over unary calls. Raises BenchProblem: not installed."""
    return _restarted(terms, model, triton_unary, streams=calls)


def triton_load(terms: Terms, model: BenchModel, **shape: int) -> Load:
    """A load against Triton. Raises BenchProblem: not installed."""
    server = terms.rig.triton(model)
    return terms.load(server, server.target, MODEL, **shape)


def _restarted(terms: Terms, model: BenchModel, measure: Measure, **shape: int) -> Run:
    """A window that is taken again after a crash; the fact `crashes` counts them."""
    terms.rig.triton(model)

    def run() -> Sample:
        for crashes in range(ATTEMPTS):
            # Started anew where it has crashed.
            server = terms.rig.triton(model)
            try:
                sample = terms.on_client_core(measure, triton_load(terms, model, **shape))
            except BenchProblem:
                if crashes == ATTEMPTS - 1 or not server.ended_within(CRASH_TAKES_S):
                    raise
                terms.rig.renew_workers()
            else:
                sample.facts[CRASHES] = crashes
                return sample
        raise AssertionError("the last attempt returns or raises")

    return run
