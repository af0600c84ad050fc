"""Where a graph has its rows, and whether the axis behind them can be time, by what the file says.

A file gives axes names or says only that they are free. An axis that all tensors share by name is
the rows; without names it is the first free one of what is data, and the only free one of a state.
What is found here is proved later, by running.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rnnserve_export.foreign.file import Dim, Tensor
from rnnserve_export.foreign.names import words_of

BATCH_WORDS = frozenset({"n", "b", "bs", "batch", "batchsize", "bsz"})
"""What an axis for rows is called."""


@dataclass(frozen=True)
class Rows:
    """Where the rows are."""

    axes: Mapping[str, int] = field(default_factory=dict)
    """Of every input and output that has rows, by name; empty: the graph has none."""
    why: str = ""
    question: str = ""
    """What has to be known first; empty: nothing."""

    def __bool__(self) -> bool:
        return bool(self.axes)


@dataclass(frozen=True)
class Time:
    """Whether a chunk may be cut along the axis behind the rows."""

    is_possible: bool
    why: str


def find_rows(
    data: Sequence[Tensor],
    kept: Sequence[Tensor],
    outputs: Sequence[Tensor],
    nexts: Mapping[str, str],
    said: Mapping[str, int],
) -> Rows:
    """Where `data` inputs, `kept` inputs (states, and what is set once) and `outputs` have rows.

    `nexts`: of the kept ones, by name, the output that is next; it has its rows where they have.
    """
    inputs = [*data, *kept]
    results = [tensor for tensor in outputs if tensor.name not in nexts.values()]
    for tensor in inputs:
        if tensor.dims is None:
            return Rows(why=f"the file says nothing of the shape of {tensor.name}")
    for tensor in (*inputs, *results):
        if tensor.dims is not None and not tensor.free_axes:
            return Rows(
                why=f"{tensor} has no free axis, so that nothing can share a run{_if(tensor, data)}"
            )
    shared = _shared(inputs)
    axes: dict[str, int] = {}
    for tensor in inputs:
        found = said.get(tensor.name, _axis(tensor, shared, is_data=tensor in data))
        if isinstance(found, str):
            if found:
                return Rows(why=found)
            return Rows(
                question=f"{tensor} has several free axes, and none is known to be the rows: say "
                f"--batch-axis {tensor.name}=AXIS"
            )
        axes[tensor.name] = found
    axes |= {nexts[name]: axis for name, axis in axes.items() if name in nexts}
    for tensor in results:
        axes[tensor.name] = said.get(tensor.name, _result_axis(tensor, shared))
    named = f"the axis {shared}" if shared else "an axis that can be rows"
    return Rows(axes, why=f"every tensor has {named}")


def find_time(
    data: Iterable[Tensor], results: Iterable[Tensor], kept: Iterable[Tensor], rows: Rows
) -> Time:
    """Whether the axis behind the rows of all `data` and `results` can be time."""
    if not rows:
        return Time(False, "there are no rows, and chunks are cut behind them")
    for tensor in kept:
        if any(isinstance(dim, str) for dim in without_rows(tensor, rows)):
            return Time(False, f"{tensor} has no fixed size")
    for tensor in (*data, *results):
        dims = without_rows(tensor, rows)
        if tensor.dims is None:
            continue
        if not dims or not isinstance(dims[0], str):
            return Time(False, f"{tensor} has no free axis behind its rows")
        if any(isinstance(dim, str) for dim in dims[1:]):
            return Time(False, f"{tensor} has more free axes than one behind its rows")
    return Time(True, "every input and output has a free axis there")


def _if(tensor: Tensor, data: Sequence[Tensor]) -> str:
    """What would help, where something does."""
    if tensor not in data or tensor.least_elements > 1:
        return ""
    return f", unless it is always the same (--constant {tensor.name}=VALUE)"


def without_rows(tensor: Tensor, rows: Rows) -> tuple[Dim, ...]:
    """The dimensions of one row."""
    dims = tensor.dims or ()
    if tensor.name not in rows.axes:
        return dims
    axis = rows.axes[tensor.name]
    return dims[:axis] + dims[axis + 1 :]


def is_batch(dim: Dim) -> bool:
    """Whether an axis is free and called as rows are."""
    return isinstance(dim, str) and not BATCH_WORDS.isdisjoint(words_of(dim))


def _shared(tensors: Sequence[Tensor]) -> str:
    """The name of the one axis that all of them have; empty: there is none."""
    found = [
        {dim for dim in tensor.dims or () if isinstance(dim, str) and dim} for tensor in tensors
    ]
    common = set.intersection(*found) if found else set()
    once = [
        dim
        for dim in tensors[0].dims or ()
        if dim in common and all((tensor.dims or ()).count(dim) == 1 for tensor in tensors)
    ]
    once.sort(key=lambda dim: not is_batch(dim))
    return str(once[0]) if once else ""


def _axis(tensor: Tensor, shared: str, is_data: bool) -> int | str:
    """The axis; or why there is none; or nothing, where it can't be told."""
    dims, free = tensor.dims or (), tensor.free_axes
    if shared and shared in dims:
        return dims.index(shared)
    named = [axis for axis in free if is_batch(dims[axis])]
    if len(named) == 1:
        return named[0]
    if is_data:
        if 0 in free:
            return 0
        if dims[0] == 1:
            return f"{tensor} has a first axis of 1: one row, and no more"
    return free[0] if len(free) == 1 else ""


def _result_axis(tensor: Tensor, shared: str) -> int:
    dims = tensor.dims or ()
    if shared and dims.count(shared) == 1:
        return dims.index(shared)
    named = [axis for axis in tensor.free_axes if is_batch(dims[axis])]
    return named[0] if len(named) == 1 else min(tensor.free_axes, default=0)
