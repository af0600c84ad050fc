"""One request of the Open Inference Protocol: what it may be, and Triton's words for the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_models import POISON, doubling_model, marked_model, memory_model
from rnnserve.engine.table import TableLimits
from rnnserve.repository.spec import QueueSpec
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.contents import FIELDS, memories
from rnnserve.wire.inference.repository import Indexed, State
from rnnserve.wire.inference.texts import BATCH_NOTE, Words, code_of
from small_models import V, small_model
from unit.service.inference_calls import Calls, goes_on, output, request, start

ONE = {"x": np.ones((1, 1), np.float32)}
UNKNOWN_ID = "[request id: <id_unknown>] "


def x(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array([values], np.float32)}


def test_a_sequence_goes_on_and_every_reply_says_what_it_answers():
    calls = Calls(marked_model())
    reply = calls.ask(start("marked", x(2.0), id="a"))
    assert (reply.id, reply.model_name, reply.model_version) == ("a", "marked", "1")
    assert [(o.name, o.datatype, list(o.shape)) for o in reply.outputs] == [
        ("y", "FP32", [1, 1]),
        ("marks", "FP32", [1, 3]),
        ("id", "UINT64", [1, 1]),
    ]
    assert len(reply.raw_output_contents) == 3
    assert output(calls.ask(goes_on("marked", x(3.0))))[0, 0] == 5
    last = calls.ask(goes_on("marked", x(4.0), sequence_end=True))
    assert output(last)[0, 0] == 9
    assert output(last, 1).tolist() == [[0, 1, 1]]
    assert calls.engine.audit() == []


def test_a_reply_has_the_outputs_that_were_asked_for_in_that_order():
    calls = Calls(marked_model())
    asked = start("marked", ONE)
    for name in ("id", "y", "id"):
        asked.outputs.add(name=name)
    reply = calls.ask(asked)
    assert [o.name for o in reply.outputs] == ["id", "y"]
    assert output(reply, 0).tolist() == [[7]]


def test_both_apis_step_sessions_of_one_table():
    calls = Calls(marked_model(), table=TableLimits(max_sessions=2))
    session = calls.engine.open()
    calls.ask(start("marked", ONE, 1))
    refused = calls.refusal(start("marked", ONE, 2))
    assert refused[0] == "too_many_sessions"
    calls.engine.close(session)
    assert output(calls.ask(start("marked", ONE, 2)))[0, 0] == 1


def test_a_model_with_time_takes_a_chunk_and_gives_one():
    model = small_model("lstm", 1)
    calls = Calls(model)
    tokens = np.array([[1, 2, 3, 4]])
    whole = output(calls.ask(start("lstm1", {"tokens": tokens}, 1)))
    first = output(calls.ask(start("lstm1", {"tokens": tokens[:, :3]}, 2)))
    rest = output(calls.ask(goes_on("lstm1", {"tokens": tokens[:, 3:]}, 2)))
    np.testing.assert_allclose(np.concatenate([first, rest], 1), whole, atol=1e-5)
    assert whole.shape == (1, 4, V)
    cases = {
        "value_out_of_range": np.array([[V]]),
        "wrong_shape": np.zeros((1, 0), np.int64),
        "chunk_too_long": np.zeros((1, 5000), np.int64),
    }
    for reason, bad in cases.items():
        assert calls.refusal(goes_on("lstm1", {"tokens": bad}, 2))[0] == reason
    calls.ask(goes_on("lstm1", {"tokens": tokens}, 2))


def test_a_shaped_reply_has_the_shape_that_the_model_gave():
    calls = Calls(memory_model())
    assert output(calls.ask(start("memory", x(1.0, 2.0)))).tolist() == [[3]]
    assert output(calls.ask(goes_on("memory", x(4.0)))).tolist() == [[7]]
    assert output(calls.ask(goes_on("memory", x()))).tolist() == [[7]]


def test_requests_that_stand_alone_have_rows():
    calls = Calls(doubling_model())
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert output(calls.ask(request("double", {"x": rows}))).tolist() == (rows * 2).tolist()
    too_many = np.zeros((9, 1), np.float32)
    assert calls.refusal(request("double", {"x": too_many}, id="r")) == (
        "batch_too_large",
        "[request id: r] inference request batch-size must be <= 8 for 'double'",
    )


START_FLAG = (
    "inference request for sequence {} to model 'marked' must specify the START flag on the first "
    "request of the sequence; {}"
)


def test_tritons_words_for_sequences():
    calls = Calls(marked_model(), table=TableLimits(idle_timeout_s=10))
    assert calls.refusal(goes_on("marked", ONE)) == (
        "sequence_not_started",
        START_FLAG.format(7, "it has not started here"),
    )
    calls.ask(start("marked", ONE))
    calls.engine.now_s = 20.0
    assert calls.refusal(goes_on("marked", ONE))[1] == START_FLAG.format(7, "it has ended (idle)")
    assert calls.refusal(request("marked", ONE)) == (
        "no_sequence_id",
        "inference request to model 'marked' must specify a non-zero or non-empty correlation ID",
    )
    assert calls.refusal(start("marked", ONE, 0))[0] == "no_sequence_id"
    two = {"x": np.ones((2, 1), np.float32)}
    assert calls.refusal(start("marked", two)) == (
        "batch_too_large",
        "inference request to model 'marked' must specify batch-size 1 due to requirements of "
        "sequence batcher",
    )
    assert calls.refusal(start("marked", ONE, "seven")) == (
        "wrong_sequence_id",
        f"{UNKNOWN_ID}sequence batching control 'ID' data-type is 'BYTES', but model 'marked' "
        "expects 'UINT64'",
    )
    calls.engine.engine.drain()
    assert calls.refusal(start("marked", ONE)) == (
        "draining",
        "Server is stopping, scheduler for model has stopped accepting new inference requests",
    )


def test_tritons_words_for_time_and_room():
    calls = Calls(marked_model())
    calls.ask(start("marked", ONE))
    late = calls.send(goes_on("marked", ONE, timeout=1_000_000))
    calls.engine.now_s = 5.0
    calls.engine.run_all()
    assert late[0].message == "timeout of the corresponding sequence has been expired"
    assert code_of(late[0].reason).name == "UNAVAILABLE"
    calls = Calls(doubling_model(queue=QueueSpec(max_waiting=1)))
    calls.send(request("double", ONE))
    (full,) = calls.send(request("double", ONE, id="f"))
    assert full.message == "[request id: f] Exceeds maximum queue size"
    assert code_of(full.reason).name == "UNAVAILABLE"


def test_tritons_words_for_models_and_versions():
    found = Indexed("marked", 2, State.UNAVAILABLE, "broken"), Indexed("gone", 1, State.LOADING, "")
    calls = Calls(marked_model(), *found)
    unknown = "Request for unknown model: "
    cases = {
        ("nobody", ""): ("unknown_model", unknown + "'nobody' is not found"),
        ("marked", "3"): ("unknown_model", unknown + "'marked' version 3 is not found"),
        ("marked", "2"): ("model_not_ready", unknown + "'marked' version 2 is not at ready state"),
        ("gone", ""): ("unknown_model", unknown + "'gone' has no available versions"),
    }
    for (name, version), refusal in cases.items():
        assert calls.refusal(start(name, ONE, model_version=version)) == refusal
    for bad in ("one", "-1", "0", "1.0", "9" * 40):
        assert calls.refusal(start("marked", ONE, model_version=bad)) == (
            "bad_parameter",
            f"failed to get model version from specified version string '{bad}' (details: stol), "
            "version should be an integral value > 0",
        )
    assert isinstance(calls.ask(start("marked", ONE, model_version="1")), wire.ModelInferResponse)


@pytest.mark.parametrize(
    ("change", "reason", "sentence"),
    [
        (
            lambda r: r.inputs[0].ClearField("shape") or r.inputs[0].shape.extend([1, 4]),
            "wrong_shape",
            UNKNOWN_ID + "unexpected shape for input 'x' for model 'marked'. Expected [-1,1], got "
            "[1,4]. " + BATCH_NOTE,
        ),
        (
            lambda r: setattr(r.inputs[0], "datatype", "INT32"),
            "wrong_dtype",
            UNKNOWN_ID + "inference input 'x' data-type is 'INT32', but model 'marked' expects "
            "'FP32'",
        ),
        (
            lambda r: r.raw_input_contents.__setitem__(0, b"12345678"),
            "wrong_size",
            UNKNOWN_ID + "input byte size mismatch for input 'x' for model 'marked'. Expected 4, "
            "got 8",
        ),
        (
            lambda r: r.ClearField("inputs") or r.ClearField("raw_input_contents"),
            "missing_input",
            UNKNOWN_ID + "expected 1 inputs but got 0 inputs for model 'marked'. Got input(s) [], "
            "but missing required input(s) ['x']. Please provide all required input(s).",
        ),
        (
            lambda r: setattr(r.inputs[0], "name", "z"),
            "unknown_input",
            "unexpected inference input 'z' for model 'marked'",
        ),
        (
            lambda r: r.outputs.add(name="z"),
            "unknown_output",
            "unexpected inference output 'z' for model 'marked'",
        ),
        (
            lambda r: r.ClearField("raw_input_contents"),
            "missing_field",
            "unable to find data for input tensor 'x' for model 'marked' in request.",
        ),
        (
            lambda r: r.inputs[0].contents.fp32_contents.append(1.0),
            "malformed",
            "contents field must not be specified when using raw_input_contents for 'x' for model "
            "'marked'",
        ),
    ],
)
def test_tritons_words_for_inputs_and_outputs(change, reason, sentence):
    calls = Calls(marked_model())
    calls.ask(start("marked", x(5.0)))
    bad = goes_on("marked", ONE)
    change(bad)
    assert calls.refusal(bad) == (reason, sentence)
    assert output(calls.ask(goes_on("marked", ONE)))[0, 0] == 6


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "sequence_id",
            True,
            "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.",
        ),
        (
            "sequence_start",
            1,
            "invalid value type for 'sequence_start' parameter, expected bool_param.",
        ),
        ("sequence_id", "x" * 129, "string correlation ID cannot be longer than 128 characters"),
        ("priority", 3, "requests have no priorities here: leave 'priority' out, or send 0"),
        ("timeout", 1.5, None),
        ("timeout", -1, None),
        ("priority", "high", None),
        (
            "triton_secret",
            True,
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the "
            "following keys starting with 'triton_' are allowed: "
            "triton_enable_empty_final_response",
        ),
        ("triton_enable_empty_final_response", 1, None),
    ],
)
def test_tritons_words_for_parameters(key, value, sentence):
    calls = Calls(marked_model())
    fields = {"sequence_id": 7, "sequence_start": True, key: value}
    reason, found = calls.refusal(request("marked", ONE, **fields))
    assert reason in ("bad_parameter", "not_offered")
    assert sentence is None or found == sentence


def test_what_clients_always_send_is_taken():
    calls = Calls(marked_model())
    asked = start("marked", ONE, sequence_end=False, triton_enable_empty_final_response=True)
    asked.parameters["priority"].uint64_param = 0
    asked.parameters["mine"].string_param = "is the model's business"
    assert output(calls.ask(asked))[0, 0] == 1


@pytest.mark.parametrize("key", ["shared_memory_region", "shared_memory_byte_size"])
def test_shared_memory_is_refused_wherever_it_is_asked_for(key):
    calls = Calls(marked_model())
    by_input, by_output = start("marked", ONE), start("marked", ONE)
    by_input.inputs[0].parameters[key].string_param = "r"
    by_output.outputs.add(name="y").parameters[key].string_param = "r"
    for asked in (by_input, by_output):
        assert calls.refusal(asked)[0] == "not_offered"


def test_a_row_that_fails_in_the_model_fails_alone():
    calls = Calls(marked_model())
    told = [calls.send(start("marked", x(v), n)) for n, v in ((1, 1.0), (2, POISON), (3, 3.0))]
    calls.engine.run_all()
    assert str(told[1][0].reason) == "model_failed"
    assert [output(told[place][0])[0, 0] for place in (0, 2)] == [1, 3]
    assert output(calls.ask(goes_on("marked", ONE, 2)))[0, 0] == 1


@pytest.mark.parametrize("datatype", sorted(FIELDS))
@given(data=st.data())
def test_typed_contents_are_the_same_as_raw_ones(datatype, data):
    field, code = FIELDS[datatype]
    dtype = np.dtype(code)
    if dtype.kind == "b":
        values = st.booleans()
    elif dtype.kind == "f":
        # Where denormals are flushed, hypothesis draws no floats of its own.
        values = st.integers(-1000, 1000).map(lambda n: n / 8) | st.just(float("inf"))
    else:
        bounds = np.iinfo(dtype)
        values = st.integers(int(bounds.min), int(bounds.max))
    array = np.array(data.draw(st.lists(values, min_size=1, max_size=5)), dtype)
    made = wire.ModelInferRequest()
    tensor = made.inputs.add(name="x", datatype=datatype, shape=array.shape)
    getattr(tensor.contents, field).extend(array.tolist())
    assert [memory for _, memory in memories(made, Words("m", ""))] == [array.tobytes()]


def test_typed_text_is_the_same_as_raw_text():
    made = wire.ModelInferRequest()
    tensor = made.inputs.add(name="x", datatype="BYTES", shape=[2])
    tensor.contents.bytes_contents.extend([b"ab", "ü".encode()])
    assert [memory for _, memory in memories(made, Words("m", ""))] == [
        b"\x02\0\0\0ab\x02\0\0\0\xc3\xbc"
    ]
