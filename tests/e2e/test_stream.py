"""Streams over the wire: law 5 to the end, resends across streams, many at once, metrics."""

import threading

import grpc
import numpy as np
import pytest

from raw_session import RawStream, close, exchange, logits, numbered, open_session, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import KINDS, V, small_model


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def test_what_is_served_is_what_the_equations_give(stub, kind):
    model = small_model(*kind)
    tokens = np.random.default_rng(3).integers(0, V, 100)
    stream = RawStream(stub)
    stream.send(numbered(v1.Operation(open=v1.Open(model=model.spec.name)), 1))
    session = stream.events(1)[1].opened.session_id
    edges = [0, 1, 2, 9, 10, 74, 100]
    for number, start in enumerate(edges[:-1]):
        cut = tokens[start : edges[number + 1]]
        stream.send(numbered(step(session, start, cut), number))
    events = stream.events(len(edges) - 1)
    found = np.concatenate([logits(events[number], V) for number in range(len(edges) - 1)])
    _, wanted = model.reference(model.reference.initial_carry(1), tokens[np.newaxis])
    np.testing.assert_allclose(found, wanted[0], atol=1e-5, rtol=0)
    stream.send(numbered(close(session), 99))
    assert stream.events(1)[99].closed.steps == 100
    stream.finish()
    assert list(stream.call) == []


def test_a_reply_lost_with_its_stream_is_had_again_from_another(server, stub):
    session = open_session(stub)
    with grpc.insecure_channel(server.target) as channel:
        lost = RawStream(rnnserve_pb2_grpc.RnnServeStub(channel))
        lost.send(numbered(step(session, 0, [5, 6]), 1))
        first = lost.events(1)[1]
        lost.call.cancel()
    again, onward = exchange(stub, step(session, 0, [5, 6]), step(session, 2, [7]))
    assert again.stepped == first.stepped
    assert onward.stepped.index == 2
    (closed,) = exchange(stub, close(session))
    assert closed.closed.steps == 3


def test_a_bad_operation_leaves_its_stream_alive(stub):
    stream = RawStream(stub)
    stream.send(v1.Operation(id=1), numbered(step("nobody", 0, [1]), 2))
    assert {event.WhichOneof("kind") for event in stream.events(2).values()} == {"error"}
    stream.send(numbered(v1.Operation(open=v1.Open(model="gru1")), 3))
    session = stream.events(1)[3].opened.session_id
    stream.send(numbered(close(session), 4))
    assert stream.events(1)[4].closed.steps == 0
    stream.finish()


def test_sessions_of_many_streams_share_batches_and_are_counted(repository):
    model = small_model("lstm", 1)
    wanted = {}
    with (
        ServerProcess(repository) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        start = threading.Barrier(16)
        wrong: list[int] = []

        def client(number: int) -> None:
            tokens = np.random.default_rng(number).integers(0, V, 60)
            _, expected = model.reference(model.reference.initial_carry(1), tokens[np.newaxis])
            wanted[number] = expected[0]
            stream = RawStream(stub)
            stream.send(numbered(v1.Operation(open=v1.Open(model="lstm1")), 1))
            session = stream.events(1)[1].opened.session_id
            start.wait()
            for index, token in enumerate(tokens):
                stream.send(numbered(step(session, index, [token]), index))
                answer = logits(stream.events(1)[index], V)
                if not np.allclose(answer[0], wanted[number][index], atol=1e-5):
                    wrong.append(number)
            stream.send(numbered(close(session), 1000))
            stream.events(1)
            stream.finish()

        threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        metrics = server.metrics()
    labels = '{model="lstm1"}'
    assert metrics[f"rnnserve_steps_total{labels}"] == 16 * 60
    assert metrics[f"rnnserve_step_seconds_count{labels}"] == 16 * 60
    assert metrics[f"rnnserve_sessions{labels}"] == 0
    assert metrics['rnnserve_sessions_ended_total{cause="closed",model="lstm1"}'] == 16
    rows = metrics[f"rnnserve_batch_rows_sum{labels}"]
    assert rows == 16 * 60
    assert metrics[f"rnnserve_batch_rows_count{labels}"] < rows
    assert metrics["rnnserve_loop_lag_seconds_count"] > 0
    assert any(name.startswith("rnnserve_build_info") for name in metrics)


def test_generation_is_what_stepping_by_hand_gives(stub):
    request = v1.GenerateRequest(model="gru2", text="hello", sampling={"max_tokens": 30})
    request.sampling.temperature = 0.0
    replies = list(stub.Generate(request))
    tokens = [token for reply in replies for token in reply.tokens]
    end = replies[-1].end
    assert (end.cause, end.prompt_tokens, end.generated_tokens) == (end.MAX_TOKENS, 5, 30)
    session, index, fed, found = open_session(stub, "gru2"), 0, [0] * 5, []
    description = stub.DescribeModel(v1.DescribeModelRequest(model="gru2"))
    assert description.has_tokenizer
    fed = [" abcdefghijklmnopqrstuvwxyz".index(letter) + 2 for letter in "hello"]
    for _ in range(30):
        (event,) = exchange(stub, step(session, index, fed))
        index += len(fed)
        fed = [int(logits(event, V)[-1].argmax())]
        found += fed
    assert tokens == found
    exchange(stub, close(session))


def test_the_same_seed_writes_the_same_and_stop_texts_end_it(stub):
    def text(**sampling) -> tuple[str, v1.GenerateEnd]:
        request = v1.GenerateRequest(model="gru1", text="a", sampling=sampling)
        replies = list(stub.Generate(request))
        return "".join(reply.text for reply in replies), replies[-1].end

    whole, end = text(max_tokens=200, seed=5)
    assert len(whole) == 200
    assert text(max_tokens=200, seed=5) == (whole, end)
    assert text(max_tokens=200, seed=6)[0] != whole
    stop = whole[100:103]
    cut, end = text(max_tokens=200, seed=5, stop=[stop])
    assert (cut, end.cause) == (whole[: whole.find(stop)], end.STOP_TEXT)


def test_a_cancelled_generation_gives_its_slot_back(server, stub):
    pieces = stub.Generate(v1.GenerateRequest(model="rnn1", text="a"))
    next(pieces)
    pieces.cancel()
    while server.metrics()['rnnserve_sessions{model="rnn1"}']:
        pass
