"""The raw limit: onnxruntime run in a loop, the carry fed back, and nothing around it."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from rnnserve_bench.load import Span
from rnnserve_bench.models import GRAPH, GraphFacts
from rnnserve_bench.sample import Latency, Sample

Arrays = list[np.ndarray]


def measure(folder: Path, rows: int, block_steps: int, span: Span) -> Sample:
    """Blocks of `block_steps` for `rows` rows, one after the other."""
    facts, session = GraphFacts.read(folder), _session(folder)
    feed: dict[str, Any] = {
        name: np.zeros((rows, *shape), np.float32) for name, _, shape in facts.carry
    }
    feed[facts.tokens] = tokens(rows, block_steps, facts.vocabulary)  # (B, T)
    fetches = [output for _, output, _ in facts.carry] + [facts.logits]
    names = [name for name, _, _ in facts.carry]

    def once() -> None:
        feed.update(zip(names, session.run(fetches, feed), strict=False))

    return repeat(once, rows * block_steps, span)


def logits(folder: Path, chunk: np.ndarray) -> np.ndarray:
    """The logits (T, V) of one row's tokens (T,), step by step from the zero carry."""
    facts, session = GraphFacts.read(folder), _session(folder)
    feed: dict[str, Any] = {
        name: np.zeros((1, *shape), np.float32) for name, _, shape in facts.carry
    }
    fetches = [output for _, output, _ in facts.carry] + [facts.logits]
    rows: Arrays = []
    for token in chunk:
        feed[facts.tokens] = np.array([[token]], np.int64)
        *carry, out = session.run(fetches, feed)
        feed.update(zip((name for name, _, _ in facts.carry), carry, strict=True))
        rows.append(out[0, 0])
    return np.stack(rows)


def tokens(rows: int, steps: int, vocabulary: int) -> np.ndarray:
    """What the load generator's sessions send too  # (B, T)"""
    places = np.arange(rows)[:, None] + np.arange(steps)[None, :]
    return np.ascontiguousarray(places % vocabulary, np.int64)


def repeat(once: Callable[[], None], steps: int, span: Span) -> Sample:
    """Call `once`, which takes `steps` steps, again and again; the first ones aren't counted."""
    until_s = time.perf_counter() + span.warm_s
    while time.perf_counter() < until_s:
        once()
    times_s: list[float] = []
    cpu_s = time.process_time()
    began_s = now_s = time.perf_counter()
    until_s = began_s + span.measure_s
    while now_s < until_s or len(times_s) < 3:
        once()
        before_s, now_s = now_s, time.perf_counter()
        times_s.append(now_s - before_s)
    return Sample(
        steps=steps * len(times_s),
        messages=len(times_s),
        wall_s=now_s - began_s,
        latency=Latency.of(times_s),
        server_cpu_s=time.process_time() - cpu_s,
    )


@cache
def _session(folder: Path) -> Any:
    """With the options that rnnserve's runner has: one thread, no spinning, no denormals."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return ort.InferenceSession(
        (folder / GRAPH).read_bytes(), options, providers=["CPUExecutionProvider"]
    )
