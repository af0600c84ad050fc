"""The `ModelSpec` of a reading: what `config.pbtxt` will say."""

from dataclasses import replace

from rnnserve.repository.spec import FREE, CarrySpec, ModelSpec, Shape, TensorSpec
from rnnserve_export.foreign.file import Dim, Tensor
from rnnserve_export.foreign.probe import Found, constants_of
from rnnserve_export.foreign.reading import Reading, Role

DEFAULT_MAX_BATCH = 256
IDLE_TIMEOUT_S = 60.0
"""Triton's own default is one second."""


def model_spec(reading: Reading, found: Found, name: str, max_batch: int) -> ModelSpec:
    """As good as it can be: with rows where there are, and with time where the axes allow it."""
    rows = found.rows
    tensors = {tensor.name: tensor for tensor in (*reading.file.inputs, *reading.file.outputs)}
    kept = [tensors[pair.input] for pair in reading.pairs]
    spec = ModelSpec(
        name=name,
        version=1,
        max_batch=max_batch if rows and not found.why_alone else 1,
        inputs=tuple(_input(t, reading, found) for t in reading.inputs_that_are(Role.DATA)),
        outputs=tuple(_output(tensor, found) for tensor in reading.results),
        carry=tuple(
            _carry(tensor, tensors[pair.output], reading, found)
            for tensor, pair in zip(kept, reading.pairs, strict=True)
        )
        + tuple(_carry(t, None, reading, found) for t in reading.inputs_that_are(Role.ONCE)),
        has_time=False,
        has_rows=bool(rows),
        constants=constants_of(reading),
        idle_timeout_s=IDLE_TIMEOUT_S,
    )
    if not spec.carry:
        return replace(spec, is_sequential=False, idle_timeout_s=None)
    return with_time(spec) if reading.time.is_possible and _can_have_time(spec) else spec


def with_time(spec: ModelSpec) -> ModelSpec:
    """The same, with the axis behind the rows as time."""
    return replace(
        spec,
        has_time=True,
        inputs=tuple(replace(tensor, shape=tensor.shape[1:]) for tensor in spec.inputs),
        outputs=tuple(replace(tensor, shape=tensor.shape[1:]) for tensor in spec.outputs),
    )


def without_time(spec: ModelSpec) -> ModelSpec:
    """The same, with one message as one run."""
    return replace(
        spec,
        has_time=False,
        inputs=tuple(replace(tensor, shape=(FREE, *tensor.shape)) for tensor in spec.inputs),
        outputs=tuple(replace(tensor, shape=(FREE, *tensor.shape)) for tensor in spec.outputs),
    )


def _can_have_time(spec: ModelSpec) -> bool:
    tensors = (*spec.inputs, *spec.outputs)
    return (
        spec.has_rows
        and all(tensor.shape[:1] == (FREE,) for tensor in tensors)
        and all(FREE not in tensor.shape[1:] for tensor in tensors)
        and all(entry.is_fixed for entry in spec.carry)
    )


def _input(tensor: Tensor, reading: Reading, found: Found) -> TensorSpec:
    assert tensor.dtype is not None
    high = reading.ranges.get(tensor.name)
    return TensorSpec(
        tensor.name,
        tensor.dtype,
        _row(tensor.name, tensor.dims or (), reading, found),
        low=None if high is None else 0,
        high=high,
        batch_axis=found.rows.axes.get(tensor.name, 0),
    )


def _output(tensor: Tensor, found: Found) -> TensorSpec:
    assert tensor.dtype is not None
    axis = found.rows.axes.get(tensor.name, 0)
    return TensorSpec(tensor.name, tensor.dtype, found.dims[tensor.name], batch_axis=axis)


def _carry(tensor: Tensor, following: Tensor | None, reading: Reading, found: Found) -> CarrySpec:
    assert tensor.dtype is not None
    dims = tensor.dims or ()
    if following is not None and following.dims is not None:
        # A length that the file gives for one of both holds for both.
        both = zip(dims, following.dims, strict=True)
        dims = tuple(mine if isinstance(mine, int) else theirs for mine, theirs in both)
    return CarrySpec(
        tensor.name,
        following.name if following is not None else "",
        tensor.dtype,
        _row(tensor.name, dims, reading, found),
        batch_axis=found.rows.axes.get(tensor.name, 0),
    )


def _row(name: str, dims: tuple[Dim, ...], reading: Reading, found: Found) -> Shape:
    """What one row has; where there are no rows after all, one is all there is."""
    shape = [FREE if isinstance(dim, str) else dim for dim in dims]
    if name in found.rows.axes:
        del shape[found.rows.axes[name]]
    elif name in reading.rows.axes:
        shape[reading.rows.axes[name]] = 1
    return tuple(shape)
