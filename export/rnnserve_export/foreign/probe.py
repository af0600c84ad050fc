"""Shapes found out by running: what the file leaves open, or says and doesn't keep.

The graph runs as it is, with whole shapes and no notion of states, over one row and two, and over
two lengths of what is free besides. Which axis of an output follows the rows and which the length
is seen from what comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from rnnserve.repository.spec import FREE, ConstantSpec, ModelSpec, Shape, TensorSpec, fits
from rnnserve_export.foreign.axes import Rows
from rnnserve_export.foreign.errors import Disproved
from rnnserve_export.foreign.file import Tensor
from rnnserve_export.foreign.reading import Reading, Role
from rnnserve_export.foreign.running import in_words, load, quiet

LENGTHS = (
    4, 1, 2, 3, 7, 8, 16, 32, 64, 80, 100, 128, 160, 200, 240, 256, 320, 400, 480, 512, 576, 640,
    800, 960, 1024, 1280, 1536, 1600, 2048, 4096, 16000,
)  # fmt: skip
"""Tried for free axes that are no rows, in this order."""

MAX_TRIED_BYTES = 64 << 20
"""Of one input with a guessed length; more is only tried where somebody said so."""

Shapes = dict[str, Shape]
"""Of every output, by name."""


@dataclass(frozen=True)
class Found:
    """What the runs showed."""

    rows: Rows
    """With the axes of the outputs as they are; none where the graph has none after all."""
    dims: Mapping[str, Shape]
    """Of the outputs: one row; -1 for what is free."""
    length: int
    """One that the graph takes for what is free and no rows."""
    why_alone: str = ""
    """Why two rows can't run together although there is an axis for them; empty: they can."""


class Probe:
    """Runs one graph; remembers nothing."""

    def __init__(self, reading: Reading) -> None:
        """Raises Disproved: onnxruntime doesn't take the graph."""
        self._reading = reading
        self._inputs = [t for t in reading.file.inputs if t.name not in reading.hints.constants]
        self._outputs = reading.file.outputs
        spec = ModelSpec(
            name=reading.file.path.stem,
            version=1,
            max_batch=1,
            inputs=tuple(map(_whole, self._inputs)),
            outputs=tuple(_whole(self._as_state(tensor)) for tensor in self._outputs),
            carry=(),
            has_time=False,
            has_rows=False,
            is_sequential=False,
            constants=constants_of(reading),
        )
        self._runner = load(spec, reading.file.data)

    def _as_state(self, tensor: Tensor) -> Tensor:
        """An output with the lengths that it has as the next of a state; onnxruntime may know them
        too, where the file says nothing."""
        inputs = {entry.name: entry.dims for entry in self._inputs}
        for pair in self._reading.pairs:
            dims = inputs.get(pair.input)
            if pair.output == tensor.name and dims is not None and tensor.dims is not None:
                both = zip(tensor.dims, dims, strict=True)
                return replace(tensor, dims=tuple(b if isinstance(a, str) else a for a, b in both))
        return tensor

    def run(self, rows: int, length: int) -> Shapes:
        """The outputs' shapes for zeros. Raises whatever onnxruntime raises."""
        with quiet():
            _, outputs = self._runner.run((), tuple(self._zeros(rows, length)))
        names = [tensor.name for tensor in self._outputs]
        # The engine's axes for rows and time stand in front.
        shapes = {name: array.shape[2:] for name, array in zip(names, outputs, strict=True)}
        self._check(shapes)
        return shapes

    def _check(self, shapes: Shapes) -> None:
        """Raises Disproved: an output is not as the file says, and the server would refuse it."""
        for tensor in self._outputs:
            came = shapes[tensor.name]
            wanted = _whole(tensor).shape
            if tensor.dims is not None and not fits(came, wanted):
                raise Disproved(
                    f"the file says that {tensor} is given, and it came as {list(came)}: its "
                    "shapes were frozen when it was exported; export it again with free axes"
                )

    def _zeros(self, rows: int, length: int) -> list[np.ndarray]:
        reading = self._reading
        kept = {t.name for t in reading.inputs_that_are(Role.STATE, Role.ONCE)}
        arrays = []
        for tensor in self._inputs:
            # What is free of a state is 1 at its beginning, as in Triton.
            free = 1 if tensor.name in kept else length
            shape = [free if isinstance(dim, str) else dim for dim in tensor.dims or ()]
            if tensor.name in reading.rows.axes:
                shape[reading.rows.axes[tensor.name]] = rows
            assert tensor.dtype is not None
            if length > 1 and prod(shape) * tensor.dtype.itemsize > MAX_TRIED_BYTES:
                raise ValueError(f"{tensor} is too large with {length} for what is free")
            filling = "" if tensor.dtype.kind == "O" else 0
            arrays.append(np.full((1, 1, *shape), filling, tensor.dtype))
        return arrays


def probe(reading: Reading) -> Found:
    """Run the graph and see. Raises Disproved: it takes no zeros of any length that was tried."""
    graph = Probe(reading)
    length, one = _first_run(graph, reading)
    other = _another_run(graph, length) if _has_free(reading) else None
    two, why_alone = None, ""
    if reading.rows:
        try:
            two = graph.run(2, length)
        except Disproved:
            raise
        except Exception as error:  # onnxruntime's exceptions share no narrower base
            why_alone = (
                f"it fails with two rows ({in_words(error)}); if a tensor has them at another "
                "axis, say --batch-axis NAME=AXIS"
            )
    rows = _rows(reading, one, two)
    names = [tensor.name for tensor in reading.file.outputs]
    return Found(
        rows,
        {name: _dims(name, rows, one[name], (other or one)[name]) for name in names},
        length,
        why_alone if rows else "",
    )


def constants_of(reading: Reading) -> tuple[ConstantSpec, ...]:
    """In the order in which a configuration has them."""
    return tuple(ConstantSpec(name, text) for name, text in sorted(reading.hints.constants.items()))


def _first_run(graph: Probe, reading: Reading) -> tuple[int, Shapes]:
    """The first length that the graph takes, and what it gave."""
    failure: Exception | None = None
    for length in LENGTHS if _has_free(reading) else LENGTHS[:1]:
        try:
            return length, graph.run(1, length)
        except Disproved:
            raise
        except Exception as error:  # likewise
            failure = failure or error
    assert failure is not None
    free = [str(t) for t in reading.inputs_that_are(Role.DATA) if _free_dims(t, reading)]
    raise Disproved(
        f"the graph fails on zeros: {in_words(failure)}"
        + (f"; say how long {' and '.join(free)} must be with --dims NAME=LENGTH" if free else "")
    )


def _another_run(graph: Probe, length: int) -> Shapes | None:
    """What the graph gives for another length, if it takes any."""
    for other in LENGTHS:
        try:
            if other != length:
                return graph.run(1, other)
        except Disproved:
            raise
        except Exception:  # likewise
            continue
    return None


def _rows(reading: Reading, one: Shapes, two: Shapes | None) -> Rows:
    """The rows, with the outputs' axes as the runs showed them."""
    if not reading.rows or two is None:
        return reading.rows
    axes = dict(reading.rows.axes)
    for name in one:
        axis = _grown_axis(one[name], two[name])
        if axis is None:
            return Rows(why=f"{name} has no axis that is as long as there are rows")
        axes[name] = axis
    for pair in reading.pairs:
        if axes[pair.output] != axes[pair.input]:
            raise Disproved(
                f"{pair.input!r} has its rows at axis {axes[pair.input]}, {pair.output!r} at axis "
                f"{axes[pair.output]}: they can't be one state; say --state {pair.input}:OUT, or "
                f"--batch-axis {pair.input}=AXIS"
            )
    return Rows(axes, reading.rows.why)


def _grown_axis(one: Shape, two: Shape) -> int | None:
    """The only axis in which they differ, where that is 1 in the first and 2 in the second."""
    if len(one) != len(two):
        return None
    grown = [axis for axis, dims in enumerate(zip(one, two, strict=True)) if dims[0] != dims[1]]
    if len(grown) != 1 or (one[grown[0]], two[grown[0]]) != (1, 2):
        return None
    return grown[0]


def _dims(name: str, rows: Rows, one: Shape, other: Shape) -> Shape:
    """Of one row. Raises Disproved: the number of dimensions depends on the length."""
    if len(one) != len(other):
        raise Disproved(
            f"{name!r} has {len(one)} or {len(other)} dimensions, depending on the length of the "
            "input: a client couldn't know which"
        )
    dims = [a if a == b else FREE for a, b in zip(one, other, strict=True)]
    if rows:
        del dims[rows.axes[name]]
    return tuple(dims)


def _has_free(reading: Reading) -> bool:
    return any(_free_dims(tensor, reading) for tensor in reading.inputs_that_are(Role.DATA))


def _free_dims(tensor: Tensor, reading: Reading) -> int:
    """How many free axes it has that are no rows."""
    return len(tensor.free_axes) - (tensor.name in reading.rows.axes)


def _whole(tensor: Tensor) -> TensorSpec:
    assert tensor.dtype is not None
    dims = tuple(FREE if isinstance(dim, str) else dim for dim in tensor.dims or ())
    return TensorSpec(tensor.name, tensor.dtype, dims)
