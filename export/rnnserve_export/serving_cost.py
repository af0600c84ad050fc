"""What a step of a language model costs in the server's own runner: one thread, nothing around it.

Every timing is the least of the medians of several rounds.  In each round every model has a turn at
everything, so that what the machine does besides hits all of them alike; what disturbs a run only
ever makes it longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from rnnserve.engine.runner import Arrays, Runner
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import model_spec
from rnnserve_models.language_model import LanguageModel
from rnnserve_models.parameters import count
from rnnserve_models.study.serving import OnMeasured, ServingCost, ServingTerms

ROUNDS = 3
FEWEST_RUNS = 3


class ServedModel:
    """A language model as the server runs it, with tokens to run."""

    def __init__(self, name: str, model: LanguageModel) -> None:
        self.name, self.parameters = name, count(model)
        self.spec = model_spec(model, "model")
        self._runner = Runner(self.spec, build_graph(model))
        self._vocabulary = model.shape.vocabulary

    def initial_carry(self, rows: int) -> Arrays:
        """Zeros, as a session begins with."""
        return tuple(np.zeros((rows, *entry.shape), entry.dtype) for entry in self.spec.carry)

    def run(self, carry: Arrays, steps: int) -> Arrays:
        """Run so many steps of all rows; the carry after them."""
        rows = len(carry[0])
        places = np.arange(rows)[:, None] + np.arange(steps)  # (B, T)
        tokens = np.ascontiguousarray(places % self._vocabulary, np.int64)
        after, _ = self._runner.run(carry, (tokens,))
        return after


@dataclass(frozen=True)
class Timing:
    """One thing to time: so many steps of so many rows, from a carry that has seen some already."""

    model: ServedModel
    what: str
    place: int
    """The rows, or the steps before."""
    carry: Arrays
    steps: int

    def once(self) -> None:
        self.model.run(self.carry, self.steps)


def measure(
    models: Mapping[str, LanguageModel], terms: ServingTerms, on_measured: OnMeasured
) -> list[ServingCost]:
    """Export and time every model; the form is `rnnserve_models.study.serving.MeasureServing`.

    Raises ExportError: a model can't be exported. ModelProblem: onnxruntime doesn't take it.
    """
    served = [ServedModel(name, model) for name, model in models.items()]
    timings = [timing for model in served for timing in _timings(model, terms)]
    turn_s = terms.seconds / (ROUNDS * len(timings))
    found: list[list[float]] = [[] for _ in timings]
    for turn in range(ROUNDS * len(timings)):
        place = turn % len(timings)
        found[place].append(_median_us(timings[place].once, turn_s))
        on_measured((turn + 1) / (ROUNDS * len(timings)))
    least = {
        (timing.model.name, timing.what, timing.place): min(us)
        for timing, us in zip(timings, found, strict=True)
    }
    return [_cost(model, least, terms) for model in served]


def _timings(model: ServedModel, terms: ServingTerms) -> list[Timing]:
    found = []
    for rows in terms.rows:
        carry = model.initial_carry(rows)
        found.append(Timing(model, "step", rows, carry, 1))
        found.append(Timing(model, "block", rows, carry, terms.block_steps))
    fresh = model.initial_carry(1)
    for before in terms.histories:
        found.append(Timing(model, "history", before, model.run(fresh, before), 1))
        found.append(Timing(model, "again", before, fresh, before + 1))
    return found


def _median_us(once: Callable[[], None], span_s: float) -> float:
    """Microseconds of a run, after a first one that sets things up."""
    once()
    times_s: list[float] = []
    until_s = time.perf_counter() + span_s
    while len(times_s) < FEWEST_RUNS or time.perf_counter() < until_s:
        began_s = time.perf_counter()
        once()
        times_s.append(time.perf_counter() - began_s)
    return 1e6 * median(times_s)


def _cost(
    model: ServedModel, least: Mapping[tuple[str, str, int], float], terms: ServingTerms
) -> ServingCost:
    def of(what: str, places: tuple[int, ...]) -> dict[int, float]:
        return {place: least[model.name, what, place] for place in places}

    return ServingCost(
        name=model.name,
        parameters=model.parameters,
        carry_bytes=model.spec.carry_bytes,
        step_us=of("step", terms.rows),
        block_us=of("block", terms.rows),
        block_steps=terms.block_steps,
        history_us=of("history", terms.histories),
        again_us=of("again", terms.histories),
    )
