"""What a session begins with, or goes on with after a reset."""

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from rnnserve.client.codec import Tensor, converted
from rnnserve.client.errors import BadInput
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb

Carry = Mapping[str, ArrayLike]
"""Every carry tensor of a model by its name, in the shape of one session: without rows."""


def initial_carry(
    carry: Carry | None, seed: int | None, scale: float | None, tensors: Sequence[Tensor]
) -> pb.InitialCarry | None:
    """The message, or None for zeros; `tensors` are the model's, needed for a given carry alone.

    Raises BadInput (bad_carry).
    """
    if carry is not None and seed is not None:
        raise BadInput(Reason.BAD_CARRY, "give either a carry or the seed of a random one")
    if scale is not None and seed is None:
        raise BadInput(Reason.BAD_CARRY, "a scale is that of a random carry: give its seed")
    if carry is not None:
        return pb.InitialCarry(given=given_carry(carry, tensors))
    if seed is None:
        return None
    try:
        return pb.InitialCarry(random=pb.RandomCarry(seed=seed, scale=scale))
    except (TypeError, ValueError) as error:
        raise BadInput(Reason.BAD_CARRY, f"random carry: {error}") from None


def given_carry(carry: Carry, tensors: Sequence[Tensor]) -> pb.GivenCarry:
    """The arrays as bytes, in the model's order. Raises BadInput (bad_carry)."""
    names = [tensor.name for tensor in tensors]
    if carry.keys() != set(names):
        missing = sorted(set(names) - carry.keys())
        extra = sorted(carry.keys() - set(names))
        raise BadInput(
            Reason.BAD_CARRY,
            f"the model's carry is {', '.join(names) or 'empty'}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; unknown: {', '.join(extra)}" if extra else ""),
            expected=", ".join(names),
        )
    return pb.GivenCarry(tensors=[_entry(carry[tensor.name], tensor) for tensor in tensors])


def _entry(value: ArrayLike, tensor: Tensor) -> bytes:
    try:
        array = converted(value, tensor, "carry")
    except BadInput as error:
        raise BadInput(Reason.BAD_CARRY, error.message, **error.facts) from None
    if array.shape != tensor.shape:
        raise BadInput(
            Reason.BAD_CARRY,
            f"carry {tensor.name!r} has shape {array.shape}, expected {tensor.shape}",
            expected=str(tensor.shape),
        )
    return array.tobytes()
