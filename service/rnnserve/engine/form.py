"""Steps as memory to the arrays of a batch, and the arrays of its answers to memory."""

from typing import Protocol

import numpy as np

from rnnserve.engine.batcher import Batch
from rnnserve.engine.chunk import Chunk, Memory
from rnnserve.engine.slots import Rows
from rnnserve.repository import strings
from rnnserve.repository.spec import ModelSpec, TensorSpec


class Form(Protocol):
    """How a model's steps lie in memory."""

    def join(self, batch: Batch) -> Rows:
        """The inputs of a batch, each (B, T, ...)."""

    def cut(self, outputs: Rows, chunks: list[Chunk]) -> list[Memory]:
        """What each chunk got of the outputs, each (B, T, ...); the chunks' rows come first."""


class Regular:
    """Every step has the same size."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def join(self, batch: Batch) -> Rows:
        steps, chunks, generations = batch
        blocks: list[tuple[memoryview | bytes, ...]] = [
            chunk.inputs if chunk.steps == steps else chunk.block(steps) for chunk in chunks
        ]
        if generations:
            blocks += [(generation.next_input,) for generation in generations]
        inputs = []
        for place, tensor in enumerate(self._spec.inputs):
            joined = b"".join([block[place] for block in blocks])
            inputs.append(np.frombuffer(joined, tensor.dtype).reshape(-1, steps, *tensor.shape))
        return tuple(inputs)

    def cut(self, outputs: Rows, chunks: list[Chunk]) -> list[Memory]:
        columns = []
        for array in outputs:
            memory, row_bytes = array[: len(chunks)].tobytes(), array.nbytes // len(array)
            columns.append(
                [memory[start : start + row_bytes] for start in range(0, len(memory), row_bytes)]
            )
        return list(zip(*columns, strict=True))


class Shaped:
    """Every message brings its shapes, and is one step."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def join(self, batch: Batch) -> Rows:
        return tuple(
            _joined(tensor, place, batch.chunks) for place, tensor in enumerate(self._spec.inputs)
        )

    def cut(self, outputs: Rows, chunks: list[Chunk]) -> list[Memory]:
        """Says on each chunk what shapes its answer has."""
        answers, shapes = [], tuple(array.shape[2:] for array in outputs)
        first = 0
        for chunk in chunks:
            rows = [array[first : first + chunk.rows] for array in outputs]
            answers.append(tuple(map(_memory, rows)))
            chunk.answer_shapes = shapes
            first += chunk.rows
        return answers


def _joined(tensor: TensorSpec, place: int, chunks: list[Chunk]) -> np.ndarray:
    shapes = chunks[0].shapes
    assert shapes is not None
    rows = sum([chunk.rows for chunk in chunks])
    shape = (rows, 1, *shapes[place])
    memory = b"".join([chunk.inputs[place] for chunk in chunks])
    if tensor.dtype.kind == "O":
        return strings.as_array(strings.unpack(memory), shape)
    return np.frombuffer(memory, tensor.dtype).reshape(shape)


def _memory(array: np.ndarray) -> bytes:
    return strings.pack(array) if array.dtype.kind == "O" else array.tobytes()
