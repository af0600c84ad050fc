"""What gRPC carries and cuts: sizes, compression, clients that vanish, and a server that stops."""

import signal
import threading

import grpc
import pytest

from raw_session import RawStream, close, exchange, numbered, open_session, reason_of, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from rnnserve.wire.stream_answers import MAX_EVENTS_BYTES
from server_process import ServerProcess
from small_models import V, publish, small_model

ANSWER_BYTES = 512 * V * 4
PENDING = 32


def test_answers_that_pile_up_for_a_slow_reader_come_in_messages_of_a_bounded_size(stub):
    """15 MB of them; a client that was told nothing else takes 4 MB in one message."""
    sessions = [open_session(stub, "gru1") for _ in range(8)]
    stream = RawStream(stub)
    operations = [
        numbered(step(session, 512 * place, [1] * 512), 1 + place * len(sessions) + n)
        for place in range(PENDING)
        for n, session in enumerate(sessions)
    ]
    stream.send(*operations)
    while not (found := stub.Audit(v1.AuditRequest())).waiting_steps:
        pass
    while found.waiting_steps:
        found = stub.Audit(v1.AuditRequest())
    stream.finish()
    frames = list(stream.call)
    assert sum(len(frame.events) for frame in frames) == len(operations)
    assert max(frame.ByteSize() for frame in frames) <= MAX_EVENTS_BYTES + 2 * ANSWER_BYTES
    assert {event.WhichOneof("kind") for frame in frames for event in frame.events} == {"stepped"}
    exchange(stub, *map(close, sessions))


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_not_taken(stub, how):
    frame = v1.OperationFrame(operations=[step("nobody", 0, [1] * 400)])
    with pytest.raises(grpc.RpcError) as error:
        stub.Exchange(frame, compression=how)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Stream(iter([frame]), compression=how))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_clients_that_vanish_in_the_middle_leave_their_sessions_and_nothing_else(server, stub):
    session = open_session(stub, "gru1")
    for number in range(20):
        with grpc.insecure_channel(server.target) as channel:
            own = rnnserve_pb2_grpc.RnnServeStub(channel)
            stream = RawStream(own)
            stream.send(*(numbered(step(session, 100 * number, [1] * 100), n) for n in range(3)))
            call = own.Generate(v1.GenerateRequest(model="gru1", tokens=v1.TokenIds(ids=[1])))
            stream.events(1)
            next(call)
        stream.finish()
    (event,) = exchange(stub, close(session))
    assert event.closed.steps == 2000


@pytest.mark.parametrize("kind", ["Stream", "Generate"])
def test_what_the_server_cuts_at_its_end_is_told_why(tmp_path, kind):
    publish(small_model("gru", 1), tmp_path)
    with (
        ServerProcess(tmp_path, "--grace-s", "0") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        open_session(stub, "gru1")
        stream = RawStream(stub)
        stream.send(v1.Operation(id=1))
        stream.events(1)
        call = stream.call
        if kind == "Generate":
            call = stub.Generate(v1.GenerateRequest(model="gru1", tokens=v1.TokenIds(ids=[1])))
            next(call)
        server.signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as error:
            list(call)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(error.value) == "draining"
        stream.finish()
        assert server.process.wait(10) == 0
        assert "Traceback" not in "".join(server.log)


def test_one_session_is_moved_from_many_streams_and_every_step_happens_once(stub):
    """They race for the same indices: one wins each, the others are answered alike."""
    session, rounds, racers = open_session(stub, "lstm1"), 20, 4
    answers: list[list[bytes]] = [[] for _ in range(racers)]

    def race(number: int) -> None:
        stream = RawStream(stub)
        for index in range(rounds):
            stream.send(numbered(step(session, index, [index]), index + 1))
            (event,) = stream.events(1).values()
            answers[number].append(event.stepped.SerializeToString())
        stream.finish()

    threads = [threading.Thread(target=race, args=(number,)) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found == answers[0] for found in answers)
    assert len(set(answers[0])) == rounds
    (event,) = exchange(stub, close(session))
    assert event.closed.steps == rounds
