"""Triton repositories through Triton's client: what a configuration says is what is served."""

import numpy as np
import pytest

import tiny_folders as folders
import tiny_models as tiny
from broken_folders import broken
from peers.inference import Answer, PeerError, Request
from peers.triton_peer import TritonPeer

WAYS = ("infer", "stream")


def ask(peer: TritonPeer, way: str, *requests: Request) -> list[dict[str, np.ndarray]]:
    """The outputs of each, sent one after the other or all at once on a stream."""
    if way == "infer":
        return [peer.infer(request).outputs for request in requests]
    outcomes = peer.stream_infer(requests)
    assert all(isinstance(outcome, Answer) for outcome in outcomes), outcomes
    return [outcome.outputs for outcome in outcomes]


def sequence(model: str, *inputs: dict[str, np.ndarray], number: int | str = 7) -> list[Request]:
    """A whole sequence, from its start to its end."""
    last = len(inputs) - 1
    return [
        Request(
            model,
            one,
            sequence_id=number,
            sequence_start=place == 0,
            sequence_end=place == last,
        )
        for place, one in enumerate(inputs)
    ]


def xs(*values: float, of: str = "FP32", shape: tuple[int, ...] = (1, 1)) -> list[dict]:
    """Inputs x of these values, each for one step."""
    return [{"x": np.full(shape, value, tiny.DTYPES[of])} for value in values]


def ys(found: list[dict[str, np.ndarray]], name: str = "y") -> list:
    return [outputs[name].ravel().tolist()[0] for outputs in found]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [model.name for model in folders.spelled()])
def test_however_it_is_written_a_sequence_sums_and_the_next_begins_anew(peer, model, way):
    for _ in range(2):
        assert ys(ask(peer, way, *sequence(model, *xs(1, 2, 4)))) == [1, 3, 7]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("of", ["FP32", "FP16", "INT64", "INT32"])
def test_a_state_of_any_type_is_carried(peer, of, way):
    found = ask(peer, way, *sequence(f"sum_{of.lower()}", *xs(1, 2, -4, of=of)))
    assert ys(found) == [1, 3, -1]
    assert found[0]["y"].dtype == tiny.DTYPES[of]


def test_a_state_of_truth_values_is_carried(peer):
    steps = sequence("sum_bool", *xs(False, True, False, of="BOOL"))
    assert ys(ask(peer, "stream", *steps)) == [False, True, True]


def test_a_state_begins_with_what_its_file_has(peer):
    assert ys(ask(peer, "infer", *sequence("from_40", *xs(1, 1)))) == [41, 42]


def test_a_state_that_grows_is_its_sequences_own(peer):
    first, second = (
        sequence("remembering", *(step for n in lengths for step in xs(1, shape=(1, n))), number=n)
        for n, lengths in (("long", (3, 0, 4)), ("short", (1, 1, 1)))
    )
    mixed = [request for pair in zip(first, second, strict=True) for request in pair]
    assert ys(ask(peer, "stream", *mixed)) == [3, 1, 3, 2, 7, 3]


def test_names_that_triton_swaps_are_paired_by_their_entries(peer):
    found = ask(peer, "stream", *sequence("counting", *xs(10, 20, 30, of="INT64")))
    assert (ys(found), ys(found, "n")) == ([10, 30, 60], [1, 2, 3])


@pytest.mark.parametrize(
    ("model", "number", "told"),
    [
        ("marked_uint64", 2**63 - 1, 2**63 - 1),
        ("marked_int64", 5, 5),
        ("marked_uint32", 2**32 + 5, 5),
        ("marked_int32", 2**32 + 5, 5),
        ("marked_bytes", "a name", b"a name"),
    ],
)
def test_a_graph_is_told_every_mark_in_the_type_that_its_control_has(peer, model, number, told):
    found = ask(peer, "stream", *sequence(model, *xs(5, 6, 7), number=number))
    assert ys(found) == [5, 11, 18]
    assert ys(found, "id_was") == [told] * 3
    (spec,) = [one.spec for one in folders.controlled() if one.name == model]
    controls = {control.name: control for control in spec.controls}
    for name, said in (
        ("start", [True, False, False]),
        ("end", [False, False, True]),
        ("ready", [True, True, True]),
    ):
        values = [controls[name].yes if one else controls[name].no for one in said]
        assert ys(found, f"{name}_was") == values
        assert found[0][f"{name}_was"].dtype == controls[name].dtype


def test_without_rows_the_dims_are_the_whole_shape(peer):
    steps = [{"x": np.array([1, 2], np.float32)}, {"x": np.array([10, 20], np.float32)}]
    found = ask(peer, "infer", *sequence("unbatched", *steps))
    assert [outputs["y"].tolist() for outputs in found] == [[1, 2], [11, 22]]


def test_a_client_sees_the_dims_and_the_graph_the_reshape(peer):
    found = ask(peer, "infer", *sequence("reshaped", *xs(3, 4, of="INT32")))
    assert [outputs["y"].tolist() for outputs in found] == [[[3]], [[7]]]


def test_a_chunk_of_a_model_with_time_may_have_any_length(peer):
    chunks = [np.array(chunk, np.float32).reshape(1, -1, 1) for chunk in ([1, 2, 3], [4], [5, 6])]
    found = ask(peer, "stream", *sequence("timed", *({"x": chunk} for chunk in chunks)))
    assert [outputs["y"].ravel().tolist() for outputs in found] == [[1, 3, 6], [10], [15, 21]]


def test_what_a_sequence_sets_once_may_come_again_or_be_left_out(peer):
    factor = {"factor": np.full((1, 1), 3, np.float32)}
    first, again, without = xs(2, 2, 2)
    found = ask(peer, "stream", *sequence("scaled", first | factor, again | factor, without))
    assert ys(found) == [6, 12, 18]


@pytest.mark.parametrize(("version", "more"), [("", 5), ("1", 1), ("2", 2), ("5", 5)])
def test_a_request_gets_the_version_that_it_names_and_otherwise_the_newest(peer, version, more):
    answer = peer.infer(Request("several", xs(10)[0], model_version=version))
    assert answer.outputs["y"].tolist() == [[10 + more]]
    assert answer.response.model_version == str(more)


def test_rows_of_a_request_that_stands_alone_are_answered_in_their_order(peer):
    a, b = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    (found,) = ask(peer, "infer", Request("adder", {"B": b, "A": a}))
    np.testing.assert_array_equal(found["SUM"], a + b)
    np.testing.assert_array_equal(found["DIFFERENCE"], a - b)


def test_the_outputs_are_those_that_were_asked_for_in_that_order(peer):
    ones = np.ones((1, 4), np.float32)
    for wanted in (["DIFFERENCE"], ["DIFFERENCE", "SUM"]):
        answer = peer.infer(Request("adder", {"A": ones, "B": ones}, outputs=wanted))
        assert [output.name for output in answer.response.outputs] == wanted


def test_text_of_any_length_comes_back(peer):
    words = np.array([["one", "zwölf", ""], ["a\0b", "語", "x" * 1000]], object)
    (found,) = ask(peer, "stream", Request("text", {"words": words}))
    assert found["same"].tolist() == [[word.encode() for word in row] for row in words.tolist()]


def test_every_type_comes_back_as_it_came(peer):
    inputs = {}
    for of in tiny.ONNX_TYPES:
        values = ["", "ü", "b"] if of == "BYTES" else [0, 1, 1]
        inputs[f"in_{of}"] = np.array([values] * 2, tiny.DTYPES[of])
    (found,) = ask(peer, "infer", Request("everything", inputs))
    assert len(found) == 13
    for name, rows in inputs.items():
        came = found[name.replace("in", "out", 1)]
        if came.dtype == object:
            came = np.vectorize(bytes.decode, otypes=[object])(came)
        assert (came.dtype, came.tolist()) == (rows.dtype, rows.tolist())


def test_start_begins_anew_and_end_with_it_is_a_sequence_of_one(peer, triton_server):
    begin, more, *_ = sequence("sum_fp32", *xs(5, 6, 7), number=70)
    assert ys(ask(peer, "infer", begin, more, begin, more)) == [5, 11, 5, 11]
    words = "sequence 70 for model 'sum_fp32' has a conflict."
    assert any(words in line for line in triton_server.log)
    (only,) = sequence("sum_fp32", *xs(9), number=70)
    assert ys(ask(peer, "infer", only)) == [9]
    with pytest.raises(PeerError, match="must specify the START flag"):
        peer.infer(more)


def test_a_step_that_fails_leaves_its_sequence_as_it_was_and_every_other(peer):
    good = sequence("fragile", *xs(1, 2, 3, 4, of="INT64"), number="good")
    bad = sequence("fragile", *xs(1, 1000, 3, 4, of="INT64"), number="bad")
    mixed = [request for pair in zip(good, bad, strict=True) for request in pair]
    outcomes = peer.stream_infer(mixed)
    failed = outcomes.pop(3)
    assert isinstance(failed, PeerError)
    assert "the model failed on this input; the session is as before" in failed.message
    found = [outcome.outputs["y"].item() for outcome in outcomes]
    assert found == [1, 1, 3, 6, 4, 10, 8]


def test_what_cannot_be_served_is_listed_with_its_reason_and_the_others_serve(peer):
    index = peer.get_model_repository_index().models
    found = {entry.name: (entry.state, entry.reason) for entry in index}
    for model, names in broken():
        state, reason = found.pop(model.name)
        assert state == "UNAVAILABLE"
        assert names in reason
    assert set(found.values()) == {("READY", "")}
