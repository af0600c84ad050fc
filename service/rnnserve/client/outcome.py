"""What became of an operation."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from rnnserve.client.errors import ServerError, from_status
from rnnserve.v1 import rnnserve_pb2 as pb

if TYPE_CHECKING:
    from rnnserve.client.stream import OperationStream

Outcome = pb.Event | ServerError
"""An answer, or the error that came instead: a value, so that one nobody waits for stays quiet."""
Outcomes = asyncio.Future[Outcome]


def outcome_of(event: pb.Event) -> Outcome:
    return from_status(event.error) if event.HasField("error") else event


def event_of(outcome: Outcome) -> pb.Event:
    """The answer; raises the error that came instead."""
    if isinstance(outcome, ServerError):
        raise outcome
    return outcome


async def sessions_made(stream: "OperationStream", outcome: Outcomes) -> pb.Event:
    """The event that tells of new sessions. They are closed where the caller is cancelled: the
    server makes them all the same, and nobody would ever know of them."""
    try:
        return event_of(await asyncio.shield(outcome))
    except asyncio.CancelledError:
        outcome.add_done_callback(partial(_close_unwanted, stream))
        raise


def _close_unwanted(stream: "OperationStream", outcome: Outcomes) -> None:
    event = outcome.result()
    if isinstance(event, ServerError):
        return
    for session_id in (event.opened.session_id, *event.forked.session_ids):
        if session_id:
            stream.ask(pb.Operation(close=pb.Close(session_id=session_id)))
