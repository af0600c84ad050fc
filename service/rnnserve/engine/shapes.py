"""What a run gave, held against what the model promises."""

from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import ModelSpec, Shape, fits

MOST_KNOWN = 4096


class Shapes:
    """The shapes that a model's runs have to have. Remembers those it was asked for."""

    def __init__(self, spec: ModelSpec) -> None:
        self._names = [entry.output_name or entry.input_name for entry in spec.carry]
        self._names += [tensor.name for tensor in spec.outputs]
        self._dtypes = [entry.dtype for entry in spec.carry]
        self._dtypes += [tensor.dtype for tensor in spec.outputs]
        self._carry = [entry.shape for entry in spec.carry]
        self._outputs = [tensor.shape for tensor in spec.outputs]
        self._known: dict[tuple[int, int], list[Shape]] = {}

    def check(self, rows: int, steps: int, carry: Rows, outputs: Rows) -> None:
        """Raises ValueError, which names the tensor, where an array is of another shape or type.

        A graph's symbolic dimensions promise nothing, and an array of one row would be broadcast
        over every session of the batch.
        """
        arrays = carry + outputs
        shapes = self._known.get((rows, steps)) or self._of(rows, steps)
        found = [array.shape for array in arrays]
        types = [array.dtype for array in arrays]
        if found != shapes or types != self._dtypes:
            for name, array, shape, dtype in zip(
                self._names, arrays, shapes, self._dtypes, strict=True
            ):
                if array.dtype != dtype or not fits(array.shape, shape):
                    raise ValueError(
                        f"{name!r} came as {array.dtype}{array.shape}, not {dtype}{shape}"
                    )

    def _of(self, rows: int, steps: int) -> list[Shape]:
        shapes: list[Shape] = [(rows, *shape) for shape in self._carry]
        shapes += [(rows, steps, *shape) for shape in self._outputs]
        if len(self._known) < MOST_KNOWN:
            self._known[rows, steps] = shapes
        return shapes
