"""What a client is told when it opens a session, and what is the same for all of one model."""

from weakref import WeakKeyDictionary

from rnnserve.engine.engine import MAX_FORKS
from rnnserve.engine.model import Model
from rnnserve.engine.table import Entry, TableLimits
from rnnserve.repository.dtypes import dtype_number
from rnnserve.repository.spec import CarrySpec, TensorSpec
from rnnserve.v1 import rnnserve_pb2 as v1


class Terms:
    """A model's tensors and a session's limits, as messages; each made once, since that takes half
    of what opening a session takes."""

    def __init__(self, table: TableLimits, max_frame_bytes: int, max_frame_operations: int) -> None:
        self._table = table
        self._max_frame_bytes = max_frame_bytes
        self._max_frame_operations = max_frame_operations
        self._of: WeakKeyDictionary[Model, v1.Opened] = WeakKeyDictionary()

    def of(self, entry: Entry) -> v1.Opened:
        """All but the session's id and index. Not to be changed."""
        terms = self._of.get(entry.model)
        if terms is None:
            terms = self._of[entry.model] = self._write(entry)
        return terms

    def _write(self, entry: Entry) -> v1.Opened:
        spec = entry.model.spec
        return v1.Opened(
            version=spec.version,
            inputs=map(tensor_message, spec.inputs),
            outputs=map(tensor_message, spec.outputs),
            carry=map(carry_message, spec.carry),
            limits=self._limits(entry),
            shaped=spec.is_shaped,
        )

    def _limits(self, entry: Entry) -> v1.Limits:
        limits = entry.session.limits
        return v1.Limits(
            max_chunk_steps=limits.max_chunk_steps,
            max_pending_chunks=limits.max_pending_chunks,
            kept_replies=limits.kept_replies,
            idle_timeout_s=entry.idle_timeout_s,
            max_life_s=self._table.max_life_s,
            max_frame_bytes=self._max_frame_bytes,
            max_frame_operations=self._max_frame_operations,
            max_forks=MAX_FORKS,
        )


def tensor_message(tensor: TensorSpec) -> v1.Tensor:
    """An input or output as it is described to clients."""
    return v1.Tensor(
        name=tensor.name,
        data_type=v1.DataType.ValueType(dtype_number(tensor.dtype)),
        shape=tensor.shape,
        low=tensor.low,
        high=tensor.high,
    )


def carry_message(entry: CarrySpec) -> v1.Tensor:
    """A carry entry as a session begins with it."""
    return v1.Tensor(
        name=entry.input_name,
        data_type=v1.DataType.ValueType(dtype_number(entry.dtype)),
        shape=entry.begins_as,
    )
