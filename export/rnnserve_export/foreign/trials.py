"""A foreign graph held against itself: the single checks of its proof."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rnnserve.engine.runner import Runner
from rnnserve.engine.shapes import Shapes
from rnnserve.engine.slots import Rows
from rnnserve.engine.trial import sample
from rnnserve.repository.spec import ModelSpec
from rnnserve_export.foreign.errors import Disproved
from rnnserve_export.foreign.running import in_words, quiet
from rnnserve_export.foreign.samples import KINDS, Kind, carry_of, inputs_of

TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2
ROWS = 5
COMPANIES = ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (1, 3), (2, 0, 4))
MESSAGES = 4
STEPS = 12
CHUNKINGS = ((1,) * STEPS, (1, STEPS - 1), (5, 7), (2, 3, 4, 3))

SAME, CHUNKS, ZEROS_IN, COMPANY = "the same again", "any chunks", "zeros in", "any company"
RUNS = (
    2 * MESSAGES + 2 * MESSAGES + 1 + sum(map(len, CHUNKINGS)) + MESSAGES * (ROWS + len(COMPANIES))
)
"""In the whole proof, at the most."""

OnRun = Callable[[str], None]
"""Hears what is being checked, whenever the graph has run."""


@dataclass(frozen=True)
class Check:
    """One thing that was held against the graph."""

    name: str
    case: str
    error: float
    """Relative to the expected value where that is larger than one."""
    tolerance: float
    failure: str = ""
    """What else went wrong, in words."""

    @property
    def holds(self) -> bool:
        return not self.failure and self.error <= self.tolerance

    @property
    def reason(self) -> str:
        """Why it doesn't hold."""
        return self.failure or f"off by {self.error:.2g}, at most {self.tolerance:.0e} is allowed"


@dataclass(frozen=True)
class Chain:
    """What messages one after the other gave, each with the carry of the one before."""

    carry: Rows
    """After the last one, each (B, ...)."""
    outputs: tuple[Rows, ...]
    """Of each message, each (B, T, ...)."""

    def joined(self) -> list[np.ndarray]:
        """The carry, and the outputs with all messages as one."""
        columns = zip(*self.outputs, strict=True)
        return [*self.carry, *(np.concatenate(column, axis=1) for column in columns)]


class Trials:
    """The checks of one graph, set up as when serving."""

    def __init__(
        self, spec: ModelSpec, runner: Runner, length: int, on_run: OnRun = lambda name: None
    ) -> None:
        """`length`: of what is free. Raises Disproved: no numbers that were tried go through it."""
        self._spec = spec
        self._runner = runner
        self._length = length
        self._shapes = Shapes(spec)
        self._on_run = on_run
        self._kind = self._usable_kind()

    def same_again(self) -> Check:
        """Whether the same messages give the same numbers, to the bit."""
        case = f"{MESSAGES} messages, twice"
        carry, messages = self._messages(1, MESSAGES, self._steps)
        try:
            one, other = (self._run(SAME, carry, messages) for _ in range(2))
        except Exception as error:  # onnxruntime's exceptions share no narrower base
            return Check(SAME, case, np.inf, 0.0, in_words(error))
        apart = _error(_flat(other), _flat(one))
        failure = "" if apart == 0.0 else "the same input gives other numbers every time"
        return Check(SAME, case, apart, 0.0, failure)

    def zeros_in(self) -> Check:
        """Whether new sessions that give zeros get finite numbers of the promised shapes."""
        case = f"one row, {MESSAGES} messages"
        found = []
        try:
            for steps in (1, 2) if self._spec.has_time else (1,):
                carry, inputs = sample(self._spec, 1, steps, self._length)
                found += _flat(self._run(ZEROS_IN, carry, [inputs] * MESSAGES))
        except Exception as error:  # likewise
            return Check(ZEROS_IN, case, np.inf, 0.0, in_words(error))
        failure = "" if _are_finite(found) else "it gives numbers that aren't finite"
        return Check(ZEROS_IN, case, 0.0, 0.0, failure)

    def any_chunks(self) -> Check:
        """Whether a message cut anywhere gives what it gives whole."""
        case = f"{STEPS} steps, cut in {len(CHUNKINGS)} ways"
        if not self._kind.tells_apart:
            return Check(CHUNKS, case, np.inf, TOLERANCE, "it takes nothing but zeros")
        carry, (whole,) = self._messages(1, 1, STEPS)
        worst = 0.0
        try:
            expected = self._run(CHUNKS, carry, [whole]).joined()
            for lengths in CHUNKINGS:
                ends = pairwise(np.cumsum([0, *lengths]))
                cut = [tuple(a[:, start:end] for a in whole) for start, end in ends]
                found = self._run(CHUNKS, carry, cut).joined()
                worst = max(worst, _error(found, expected))
        except Exception as error:  # likewise
            return Check(CHUNKS, case, np.inf, TOLERANCE, f"it fails in chunks: {in_words(error)}")
        return Check(CHUNKS, case, worst, self._tolerance)

    def any_company(self) -> Check:
        """Whether a row among others gives what it gives alone, over several messages."""
        case = f"{ROWS} rows, {MESSAGES} messages, {len(COMPANIES)} companies"
        if not self._kind.tells_apart:
            return Check(COMPANY, case, np.inf, TOLERANCE, "it takes nothing but zeros")
        carry, messages = self._messages(ROWS, MESSAGES, self._steps)
        worst = 0.0

        def of(rows: Sequence[int]) -> Chain:
            there = list(rows)
            chosen = [tuple(array[there] for array in message) for message in messages]
            return self._run(COMPANY, tuple(array[there] for array in carry), chosen)

        try:
            alone = [_flat(of([row])) for row in range(ROWS)]
            for company in COMPANIES:
                together = _flat(of(company))
                for place, row in enumerate(company):
                    cut = [array[place : place + 1] for array in together]
                    worst = max(worst, _error(cut, alone[row]))
        except Exception as error:  # likewise
            return Check(COMPANY, case, np.inf, TOLERANCE, f"rows fail together: {in_words(error)}")
        return Check(COMPANY, case, worst, self._tolerance)

    @property
    def _steps(self) -> int:
        """Of an ordinary message."""
        return 3 if self._spec.has_time else 1

    @property
    def _tolerance(self) -> float:
        spec = self._spec
        dtypes = {tensor.dtype for tensor in (*spec.inputs, *spec.outputs)}
        dtypes |= {entry.dtype for entry in spec.carry}
        return HALF_TOLERANCE if np.dtype(np.float16) in dtypes else TOLERANCE

    def _usable_kind(self) -> Kind:
        """The first kind of numbers that goes through a chain of messages and comes out finite."""
        failure = ""
        for kind in KINDS:
            self._kind = kind
            carry, messages = self._messages(1, MESSAGES, self._steps)
            try:
                chain = self._run("", carry, messages)
            except Exception as error:  # likewise
                failure = in_words(error)
                continue
            if _are_finite(_flat(chain)):
                return kind
            failure = failure or "it gives numbers that aren't finite"
        raise Disproved(f"the graph can't be tried out: {failure}")

    def _messages(self, rows: int, count: int, steps: int) -> tuple[Rows, list[Rows]]:
        """New sessions, and what each says: the same for the same question."""
        rng = np.random.default_rng(1)
        spec, length = self._spec, self._length
        messages = [inputs_of(spec, rows, steps, length, self._kind, rng) for _ in range(count)]
        return carry_of(spec, rows, 0), messages

    def _run(self, name: str, carry: Rows, messages: Iterable[Rows]) -> Chain:
        """Raises whatever onnxruntime raises, and ValueError: an array of another shape."""
        outputs = []
        with quiet():
            for inputs in messages:
                rows, steps = inputs[0].shape[:2]
                carry, given = self._runner.run(carry, inputs)
                self._shapes.check(rows, steps, carry, given)
                outputs.append(given)
                self._on_run(name)
        return Chain(carry, tuple(outputs))


def _flat(chain: Chain) -> list[np.ndarray]:
    return [*chain.carry, *(array for outputs in chain.outputs for array in outputs)]


def _are_finite(arrays: Iterable[np.ndarray]) -> bool:
    return all(bool(np.isfinite(a).all()) for a in arrays if a.dtype.kind == "f")


def _error(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest distance, relative to values larger than one; infinite where nothing fits."""
    return max(map(_distance, found, expected), default=0.0)


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return np.inf
    if found.dtype.kind != "f":
        return 0.0 if np.array_equal(found, expected) else np.inf
    if not found.size:
        return 0.0
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        same = np.array_equal(found, expected, equal_nan=True)
        return 0.0 if same else np.inf
    apart = np.abs(found.astype(np.float64) - expected)
    return float((apart / np.maximum(1.0, np.abs(expected, dtype=np.float64))).max())
