"""What is refused, the reason to the letter, and nothing has changed."""

from collections.abc import Callable

from laws.load_life import Life
from raw_session import refusal, step
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as v1
from small_models import V

Bad = Callable[[Life], tuple[v1.Operation, Reason]]


def _step(life: Life, tokens, **more) -> v1.Operation:
    return step(life.session.id, life.index, tokens, **more)


def _reset(life: Life, index: int, **carry) -> v1.Operation:
    reset = v1.Reset(session_id=life.session.id, index=index, carry=v1.InitialCarry(**carry))
    return v1.Operation(reset=reset)


def _import(life: Life, blob: bytes) -> v1.Operation:
    return v1.Operation(import_blob=v1.Import(model=life.model_name, blob=blob))


def _fork(life: Life, **more) -> v1.Operation:
    return v1.Operation(fork=v1.Fork(session_id=life.session.id, **more))


def _export(life: Life, index: int) -> v1.Operation:
    return v1.Operation(export=v1.Export(session_id=life.session.id, index=index))


def _two_inputs(life: Life) -> v1.Operation:
    token = bytes(8)
    inputs = [token, token]
    return v1.Operation(step=v1.Step(session_id=life.session.id, index=life.index, inputs=inputs))


def _damaged(life: Life) -> v1.Operation:
    blob = bytearray(life.world.blobs.get(life.model_name, b"rnncarry"))
    blob[life.rng.randrange(len(blob))] ^= 1 << life.rng.randrange(8)
    return _import(life, bytes(blob))


BAD: tuple[Bad, ...] = (
    lambda life: (step(life.session.id, life.index + 3, [1]), Reason.INDEX_GAP),
    lambda life: (_reset(life, life.index + 1), Reason.INDEX_GAP),
    lambda life: (_fork(life, index=life.index + 1), Reason.INDEX_GAP),
    lambda life: (_export(life, life.index + 1), Reason.INDEX_GAP),
    lambda life: (_step(life, [V]), Reason.VALUE_OUT_OF_RANGE),
    lambda life: (_step(life, [1, -1, 2]), Reason.VALUE_OUT_OF_RANGE),
    lambda life: (_step(life, bytes(7)), Reason.WRONG_SIZE),
    lambda life: (_step(life, b""), Reason.EMPTY_CHUNK),
    lambda life: (_step(life, [1], data_types=[v1.FP32]), Reason.WRONG_DTYPE),
    lambda life: (_step(life, [1] * 257), Reason.CHUNK_TOO_LONG),
    lambda life: (_two_inputs(life), Reason.WRONG_INPUT_COUNT),
    lambda life: (step("nobody", 0, [1]), Reason.UNKNOWN_SESSION),
    lambda life: (step("", 0, [1]), Reason.NOT_OPEN),
    lambda life: (_fork(life, count=257), Reason.TOO_MANY_FORKS),
    lambda life: (
        _reset(life, life.index, given=v1.GivenCarry(tensors=[b"x"])),
        Reason.BAD_CARRY,
    ),
    lambda life: (
        _reset(life, life.index, random=v1.RandomCarry(seed=1, scale=-1.0)),
        Reason.BAD_CARRY,
    ),
    lambda life: (_import(life, b"no blob at all"), Reason.BLOB_DAMAGED),
    lambda life: (_damaged(life), Reason.BLOB_DAMAGED),
)


async def asks_what_is_refused(life: Life) -> None:
    """Several at once, good steps of others around them."""
    wanted = [bad(life) for bad in life.rng.sample(BAD, 4)]
    if life.index:
        wanted.append((_export(life, life.index - 1), Reason.INDEX_PAST))
    if life.last is not None:
        index, sent, _ = life.last
        wanted.append((step(life.session.id, index, [*sent, 1]), Reason.OTHER_INPUT))
    for name, blob in life.world.blobs.items():
        if name != life.model_name:
            wanted.append((_import(life, blob), Reason.BLOB_FOREIGN))
    events = await life.world.exchange(*(operation for operation, _ in wanted))
    for event, (operation, reason) in zip(events, wanted, strict=True):
        assert event.HasField("error"), f"at {life.index}, {operation} was answered: {event}"
        _, found, facts = refusal(event)
        # Whether there is room for another session is asked first.
        full = operation.WhichOneof("kind") == "import_blob" and found == Reason.TOO_MANY_SESSIONS
        assert full or found == reason, f"{operation}: {found}, not {reason}"
        if reason in (Reason.INDEX_GAP, Reason.INDEX_PAST):
            assert facts["expected"] == str(life.index)
        life.world.room.refusals[found] += 1
    await life.find()
