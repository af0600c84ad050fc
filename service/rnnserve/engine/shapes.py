"""What a run gave, held against what the model promises."""

from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import ModelSpec


def check_shapes(spec: ModelSpec, rows: int, steps: int, carry: Rows, outputs: Rows) -> None:
    """Hold what a run gave against the spec; a graph's symbolic dimensions promise nothing.

    Raises ValueError, which names the tensor: an array of one row would otherwise be broadcast over
    every session of the batch.
    """
    for entry, array in zip(spec.carry, carry, strict=True):
        if array.shape != (rows, *entry.shape) or array.dtype != entry.dtype:
            raise ValueError(
                f"{entry.output_name!r} came as {array.dtype}{array.shape}, "
                f"not {entry.dtype}{(rows, *entry.shape)}"
            )
    for tensor, array in zip(spec.outputs, outputs, strict=True):
        if array.shape != (rows, steps, *tensor.shape) or array.dtype != tensor.dtype:
            raise ValueError(
                f"{tensor.name!r} came as {array.dtype}{array.shape}, "
                f"not {tensor.dtype}{(rows, steps, *tensor.shape)}"
            )
