"""The control inputs of a batch: what the server tells a graph of each row."""

import hashlib

import numpy as np

from rnnserve.engine.batcher import Batch
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.session import Session
from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import ControlSpec, Mark

Correlation = int | str
"""What a client calls its sequence."""


def marks_of(controls: tuple[ControlSpec, ...], batch: Batch) -> Rows:
    """The control inputs in their order, each (B,)."""
    return tuple(_values(control, batch) for control in controls)


def _values(control: ControlSpec, batch: Batch) -> np.ndarray:
    if control.mark is Mark.CORRID:
        ids = [_correlation(chunk.session) for chunk in batch.chunks]
        return _ids(ids, control.dtype)
    told = {Mark.START: _starts, Mark.END: _ends, Mark.READY: _is_ready}[control.mark]
    yes = [told(chunk, batch.steps) for chunk in batch.chunks]
    return np.array([control.yes if y else control.no for y in yes], control.dtype)


def _starts(chunk: Chunk, steps: int) -> bool:
    return chunk.index + chunk.done == chunk.session.origin


def _ends(chunk: Chunk, steps: int) -> bool:
    return chunk.is_last and chunk.done + steps == chunk.steps


def _is_ready(chunk: Chunk, steps: int) -> bool:
    return True


def _correlation(session: Session) -> Correlation:
    """What the client calls it; for a session that has no such name, a number of its own."""
    if session.correlation is not None:
        return session.correlation
    return int.from_bytes(hashlib.blake2b(session.id.encode(), digest_size=8).digest(), "little")


def _ids(ids: list[Correlation], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "O":
        array = np.empty(len(ids), object)
        array[:] = [str(one) for one in ids]
        return array
    # Narrower types take the lower bits, as in Triton.
    numbers = [one if isinstance(one, int) else 0 for one in ids]
    return np.array(numbers, np.uint64).astype(dtype)
