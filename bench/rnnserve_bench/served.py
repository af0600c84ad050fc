"""rnnserve as a contestant, under every kind of load."""

import time
from collections.abc import Callable

from rnnserve_bench.alone import raw
from rnnserve_bench.contest import Run
from rnnserve_bench.cores import resident_bytes
from rnnserve_bench.frame_load import FrameShape, rnnserve_frames
from rnnserve_bench.generate_load import Writing, generations
from rnnserve_bench.load import Load
from rnnserve_bench.mixed_load import Company, beside
from rnnserve_bench.models import BenchModel, GraphFacts
from rnnserve_bench.sample import Sample
from rnnserve_bench.session_talk import rnnserve_streams
from rnnserve_bench.sessions_load import open_many
from rnnserve_bench.terms import Terms

PROBE_SHARE = 0.4
Probe = Callable[[Terms], Run]
METERED = ("block_steps", "batch_rows", "run_seconds")
"""Histograms of the server whose means over a window are kept beside its sample."""


def streams(terms: Terms, model: BenchModel, count: int, chunk_steps: int = 1) -> Run:
    """A session on each stream."""
    load = served_load(terms, model, streams=count, chunk_steps=chunk_steps)
    return metered(terms, model, lambda: terms.on_client_core(rnnserve_streams, load))


def frames(terms: Terms, model: BenchModel, shape: FrameShape) -> Run:
    """One stream of frames."""
    load = served_load(terms, model)
    return metered(terms, model, lambda: terms.on_client_core(rnnserve_frames, load, shape))


def generate(terms: Terms, model: BenchModel, calls: int) -> Run:
    """Texts written side by side."""
    load, writing = served_load(terms, model), Writing(calls, terms.tokens)
    return metered(terms, model, lambda: terms.on_client_core(generations, load, writing))


def small_beside(terms: Terms, model: BenchModel, company: Company) -> Run:
    """One stream of single steps beside the company."""
    load = served_load(terms, model)
    return metered(terms, model, lambda: terms.on_client_core(beside, load, company))


def raw_as_served(terms: Terms, model: BenchModel, rows: int, probe: Probe) -> Run:
    """onnxruntime alone, with blocks as long as those that the server makes under `probe`."""
    seen = probe(terms.scaled(PROBE_SHARE))()
    block_steps = max(1, round(seen.facts.get("long_block_steps", 1)))
    run = raw(terms, model, rows, block_steps)

    def noted() -> Sample:
        sample = run()
        sample.facts["block_steps"] = block_steps
        return sample

    return noted


def memory(terms: Terms, model: BenchModel) -> Run:
    """A server of its own in every round, without and then with open sessions."""
    carry_bytes = GraphFacts.read(terms.rig.build(model)).carry_bytes
    options = ("--max-sessions", str(terms.sessions), "--idle-timeout-s", "3600")

    def run() -> Sample:
        server = terms.rig.fresh_server(model, *options)
        try:
            load = terms.load(server, server.target, model.name)
            empty_bytes = resident_bytes(server.pid)
            sample = terms.on_client_core(_opened, load, terms.sessions)
            sample.facts["empty_bytes"] = empty_bytes
            sample.facts["full_bytes"] = resident_bytes(server.pid)
            sample.facts["carries_bytes"] = carry_bytes * terms.sessions
        finally:
            server.close()
        return sample

    return run


async def _opened(load: Load, sessions: int) -> Sample:
    began_s = time.perf_counter()
    stepped = await open_many(load, sessions)
    return Sample(stepped, stepped, time.perf_counter() - began_s)


def served_load(terms: Terms, model: BenchModel, **shape: int) -> Load:
    """A load against the rig's server of this model."""
    server = terms.rig.server(model)
    return terms.load(server, server.target, model.name, **shape)


def metered(terms: Terms, model: BenchModel, run: Run) -> Run:
    """The same run, with what the server's own metrics say about the window.

    They are read before and after, not during: reading them takes the server's time. So the warm-up
    is counted in.
    """
    server = terms.rig.server(model)

    def measured() -> Sample:
        before = server.metrics()
        sample = run()
        sample.facts.update(served_facts(before, server.metrics()))
        return sample

    return measured


def served_facts(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Means over a window: rows and steps of a batch, seconds of a run.

    `long_block_steps` is the mean length of the blocks that have more than one step, `long_run_s`
    the mean time of such a run (the single steps' time is in it, and hardly counts).
    """
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    facts = {}
    for name in METERED:
        if runs := grown.get(f"rnnserve_{name}_count", 0.0):
            facts[name] = grown[f"rnnserve_{name}_sum"] / runs
    single = grown.get("rnnserve_block_steps_bucket<=1.0", 0.0)
    if long := grown.get("rnnserve_block_steps_count", 0.0) - single:
        facts["long_run_s"] = grown["rnnserve_run_seconds_sum"] / long
        facts["long_block_steps"] = (grown["rnnserve_block_steps_sum"] - single) / long
    return facts
