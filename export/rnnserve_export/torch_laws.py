"""The laws that a module has to keep to be served, tried in torch before a graph of it is drawn.

Here it can still be said what to do about it: once the graph is there, torch and the graph agree on
what is wrong as well.
"""

import numpy as np

from rnnserve_export.errors import UnservableModule
from rnnserve_export.feed import Feed, Reached, zero_carry
from rnnserve_export.parity import (
    Answer,
    Arrays,
    Compute,
    difference,
    in_chunks,
    one_torch_thread,
    row_by_row,
    row_count,
    step_count,
    torch_answers,
)
from rnnserve_export.torch_model import TorchModel

TOLERANCE = 1e-4
SIZES = ((2, 3), (1, 1), (3, 2))
ROWS, STEPS = 5, 12
CHUNKINGS = ((1,) * STEPS, (1, STEPS - 1), (5, 7))
FUTURE_STEPS = 4


@one_torch_thread()
def check_laws(model: TorchModel, feed: Feed) -> None:
    """Raises UnservableModule for the first law that the module breaks, with what to do."""
    compute = torch_answers(model)
    rng = np.random.default_rng(0)
    sizes = SIZES if model.has_time else tuple((rows, 1) for rows, _ in SIZES)
    for B, T in sizes:
        inputs = feed.draw(B, T, rng)
        answer = _asked(compute, zero_carry(feed.spec, B), inputs)
        _check_shapes(feed, inputs, answer)
        _check_finite(answer)
    carry, inputs = Reached(compute, feed, rng).draw(ROWS, rng), feed.draw(ROWS, STEPS, rng)
    whole = _asked(compute, carry, inputs)
    _check_finite(whole)
    _check_same(whole, _asked(compute, carry, inputs))
    _check_rows(whole, row_by_row(compute)(carry, inputs))
    if model.has_time:
        _check_past(whole, _asked(compute, carry, _with_another_future(feed, inputs, rng)))
        for chunks in CHUNKINGS:
            _check_chunks(whole, in_chunks(compute, carry, inputs, chunks), chunks)


def _asked(compute: Compute, carry: Arrays, inputs: Arrays) -> Answer:
    try:
        return compute(carry, inputs)
    except UnservableModule:
        raise
    except Exception as error:  # whatever a user's module raises
        raise UnservableModule(
            f"forward fails on {row_count(inputs)} rows and {step_count(inputs)} steps of numbers "
            f"like the example's ({type(error).__name__}: {error}): it must take any number of "
            "rows and steps, one too, and every value that ranges allows"
        ) from error


def _check_shapes(feed: Feed, inputs: Arrays, answer: Answer) -> None:
    (carry, outputs), spec = answer, feed.spec
    B, T = row_count(inputs), step_count(inputs)
    for entry in spec.carry:
        array, wanted = carry[entry.input_name], (B, *entry.shape)
        if array.shape != wanted or array.dtype != entry.dtype:
            raise UnservableModule(
                f"the state {entry.input_name!r} goes in as {entry.dtype} {list(wanted)} and comes "
                f"out as {array.dtype} {list(array.shape)} after {T} steps: a state keeps its type "
                "and shape whatever comes; keep a window of the last steps where it would grow"
            )
    for tensor in spec.outputs:
        array, wanted = outputs[tensor.name], (B, T, *tensor.shape)
        if array.shape != wanted or array.dtype != tensor.dtype:
            raise UnservableModule(
                f"the output {tensor.name!r} is {array.dtype} {list(array.shape)} for {B} rows and "
                f"{T} steps, and has to be {tensor.dtype} {list(wanted)}: one answer for each step"
            )


def _check_finite(answer: Answer) -> None:
    for group in answer:
        for name, array in group.items():
            if not np.isfinite(array).all():
                raise UnservableModule(
                    f"{name!r} comes out infinite or not a number for inputs like the example's: "
                    "if the module takes only some numbers, say which with "
                    "ranges={NAME: (LOW, HIGH)}"
                )


def _check_same(first: Answer, second: Answer) -> None:
    if off := _off(first, second):
        raise UnservableModule(
            f"the same carry and inputs give other numbers the second time (off by {off:.2g}): the "
            "module draws random numbers in eval mode, or remembers something itself; what it "
            "remembers belongs into the carry"
        )


def _check_rows(together: Answer, alone: Answer) -> None:
    if off := _off(together, alone):
        raise UnservableModule(
            f"a row gives other numbers among others than alone (off by {off:.2g}): something runs "
            "over axis 0 (a mean, a softmax, a normalisation, an `if` about all rows), and "
            "strangers share a batch when served; let every row stand for itself"
        )


def _check_past(whole: Answer, other_future: Answer) -> None:
    def past(answer: Answer) -> Answer:
        return {}, {name: array[:, :-FUTURE_STEPS] for name, array in answer[1].items()}

    if off := _off(past(whole), past(other_future)):
        raise UnservableModule(
            f"an answer depends on later steps (off by {off:.2g}): the module looks ahead along "
            "axis 1 (a convolution padded on both sides, an attention without a causal mask, a "
            "normalisation over time), and a stream has no later steps yet"
        )


def _check_chunks(whole: Answer, cut: Answer, chunks: tuple[int, ...]) -> None:
    if off := _off(whole, cut):
        raise UnservableModule(
            f"{STEPS} steps give other numbers in {len(chunks)} chunks than at once (off by "
            f"{off:.2g}): what the first steps of a chunk need from before isn't all in the carry "
            "(a convolution needs its last kernel - 1 inputs, a count needs its number)"
        )


def _off(one: Answer, other: Answer) -> float:
    """How far they are apart; 0 where that is within the tolerance."""
    relative = difference(one, other).relative
    return relative if relative > TOLERANCE else 0.0


def _with_another_future(feed: Feed, inputs: Arrays, rng: np.random.Generator) -> Arrays:
    future = feed.draw(ROWS, FUTURE_STEPS, rng)
    return {
        name: np.concatenate([array[:, :-FUTURE_STEPS], future[name]], axis=1)
        for name, array in inputs.items()
    }
