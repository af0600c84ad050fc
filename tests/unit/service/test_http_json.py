"""JSON in and out: what is read, what is refused, and that a tensor survives the way."""

import json
import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import example, given
from hypothesis import strategies as st

from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton import model_config_pb2 as config
from rnnserve.wire.http import document, tensors
from rnnserve.wire.http.document import Fields
from rnnserve.wire.http.messages import plain

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Once a runner has run, its thread flushes denormals to zero.
FLOATS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


def refused(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as error:
        document.read(data)
    assert error.value.reason is Reason.MALFORMED
    return error.value


@given(st.dictionaries(TEXT, VALUES), st.booleans())
def test_an_object_is_read_as_it_was_written(found, ascii_only):
    assert document.read(json.dumps(found, ensure_ascii=ascii_only).encode()) == found


@given(st.binary() | TEXT.map(str.encode) | VALUES.map(json.dumps).map(str.encode))
def test_any_bytes_are_an_object_or_malformed(data):
    try:
        outcome = document.read(data)
    except Refusal as refusal:
        outcome = refusal
    assert isinstance(outcome, dict) or outcome.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b'{"a": 1} x', "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"[]", "is a list; it must be an object"),
        (b"null", "is null"),
        (b'{"a": "\xff"}', "not UTF-8 from byte 7"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "is not JSON"),
        (b'{"a": {"b": 1, "b": 1}}', "the name 'b' twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "an integer of thousands of digits"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(data, sentence):
    assert sentence in refused(data).message


def test_a_name_that_is_twice_is_found_among_many():
    names = [f'"{number:x}": 0' for number in range(70_000)]
    assert (
        "'last' twice" in refused(f'{{{", ".join(names)}, "last": 1, "last": 1}}'.encode()).message
    )


def test_a_long_document_is_refused_before_it_is_read():
    with pytest.raises(Refusal) as error:
        document.read(b"[" * (document.MAX_JSON_BYTES + 1))
    assert error.value.reason is Reason.FRAME_TOO_LARGE


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        (None, ()),
        (True, (bool,)),
        (1, (int, float)),
        (1.5, (float,)),
        ("1", (str,)),
        ([1], (list,)),
        ({"a": 1}, (dict,)),
    ],
)
def test_a_field_has_exactly_one_type_but_that_integers_are_numbers(value, kinds):
    for kind in (bool, int, float, str, list, dict):
        fields = Fields({"a": value}, "the request")
        if kind in kinds:
            assert fields.need("a", kind) == value
            fields.done()
        else:
            with pytest.raises(Refusal, match=r"'a' of the request is .*; it must be"):
                fields.need("a", kind)


def test_a_field_that_nobody_took_is_refused_by_its_name():
    fields = Fields({"a": 1, "b": 2}, "the request")
    fields.need("a", int)
    with pytest.raises(Refusal, match="has a field 'b'"):
        fields.done()


# Tensors.

DATATYPES = {name: dtype for name, dtype in tensors.DTYPES.items() if name != "FP16"}


def sent(datatype: str, shape: tuple[int, ...], data: list) -> bytes:
    return tensors.pack("input 0", datatype, shape, data)


def written(datatype: str, memory: bytes) -> list:
    return json.loads(
        f"[{', '.join(tensors.elements(datatype, memory))}]", parse_constant=pytest.fail
    )


@st.composite
def tensor(draw) -> tuple[str, np.ndarray]:
    name = draw(st.sampled_from(sorted(DATATYPES)))
    shape = draw(arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
    # What flushes denormals to zero holds for the thread.
    elements = arrays.from_dtype(DATATYPES[name], allow_subnormal=False)
    return name, draw(arrays.arrays(DATATYPES[name], shape, elements=elements))


@given(tensor())
def test_a_tensor_comes_out_of_json_as_it_went_in(case):
    name, array = case
    flat = written(name, array.tobytes())
    back = np.frombuffer(sent(name, array.shape, flat), array.dtype)
    # Every NaN is one NaN.
    np.testing.assert_array_equal(back, array.ravel())
    # numpy alone makes the same of what was written, as tritonclient does.
    np.testing.assert_array_equal(np.array(flat, array.dtype), array.ravel())


@given(tensor())
def test_nested_as_its_shape_says_a_list_is_the_same_as_flat(case):
    name, array = case
    flat = written(name, array.tobytes())
    nested = np.array([*flat, None], object)[:-1].reshape(array.shape).tolist()
    if array.ndim:
        assert sent(name, array.shape, nested) == sent(name, array.shape, flat)


@given(st.lists(TEXT))
def test_text_comes_out_of_json_as_it_went_in(texts):
    memory = sent("BYTES", (len(texts),), texts)
    assert strings.unpack(memory) == texts
    assert written("BYTES", memory) == texts


def test_a_reply_of_many_slices_is_one_list():
    array = np.arange(3 * tensors.SLICE + 1, dtype=np.float32)
    assert len(list(tensors.elements("FP32", array.tobytes()))) == 4
    assert written("FP32", array.tobytes()) == array.tolist()


def test_halves_are_written_as_numbers_that_are_them_exactly():
    array = np.array([0.1, -2.0, 65504.0, np.inf], np.float16)
    assert written("FP16", array.tobytes()) == [float(array[0]), -2.0, 65504.0, "Infinity"]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "reason"),
    [
        ("INT8", (1,), [128], Reason.VALUE_OUT_OF_RANGE),
        ("UINT8", (1,), [-1], Reason.VALUE_OUT_OF_RANGE),
        ("INT64", (1,), [1 << 63], Reason.VALUE_OUT_OF_RANGE),
        ("UINT64", (1,), [1 << 64], Reason.VALUE_OUT_OF_RANGE),
        ("FP32", (1,), [1e39], Reason.VALUE_OUT_OF_RANGE),
        ("FP64", (1,), [10**400], Reason.VALUE_OUT_OF_RANGE),
        # What json makes of 1e999.
        ("FP32", (1,), [math.inf], Reason.VALUE_OUT_OF_RANGE),
        ("INT32", (1,), [1.0], Reason.MALFORMED),
        ("INT32", (1,), [True], Reason.MALFORMED),
        ("INT32", (1,), ["1"], Reason.MALFORMED),
        ("BOOL", (1,), [1], Reason.MALFORMED),
        ("FP32", (1,), [True], Reason.MALFORMED),
        ("FP32", (1,), ["1.5"], Reason.MALFORMED),
        ("FP32", (1,), ["nan"], Reason.MALFORMED),
        ("FP32", (1,), [None], Reason.MALFORMED),
        ("FP32", (1,), [{}], Reason.MALFORMED),
        ("BYTES", (1,), [1], Reason.MALFORMED),
        ("FP16", (1,), [1.0], Reason.WRONG_DTYPE),
        ("BF16", (1,), [1.0], Reason.WRONG_DTYPE),
        ("FLOAT", (1,), [1.0], Reason.WRONG_DTYPE),
        ("", (1,), [1.0], Reason.WRONG_DTYPE),
        ("FP32", (3, 2), [[1, 2, 3], [4, 5, 6]], Reason.WRONG_SHAPE),
        ("FP32", (2, 2), [[1, 2], [3]], Reason.WRONG_SHAPE),
        ("FP32", (2,), [1, [2]], Reason.WRONG_SHAPE),
        ("FP32", (2,), [[1], [2]], Reason.WRONG_SHAPE),
        ("FP32", (2, 1, 1), [[1], [2]], Reason.WRONG_SHAPE),
        ("FP32", (), [[1]], Reason.WRONG_SHAPE),
        ("FP32", (-1, 1), [[1]], Reason.WRONG_SHAPE),
    ],
)
def test_data_that_is_not_of_its_type_or_shape_is_refused(datatype, shape, data, reason):
    with pytest.raises(Refusal) as error:
        sent(datatype, shape, data)
    assert error.value.reason is reason
    assert "input 0" in error.value.message


# Messages.


def numbers(value):
    """protobuf's own JSON, with the strings that it makes of 64 bits as numbers again."""
    if isinstance(value, dict):
        return {key: numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [numbers(inner) for inner in value]
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdigit() else value


STATISTICS = st.builds(
    wire.ModelStatistics,
    name=st.just("m"),
    inference_count=st.integers(0, (1 << 64) - 1),
    inference_stats=st.builds(
        wire.InferStatistics,
        success=st.builds(wire.StatisticDuration, ns=st.integers(0, (1 << 64) - 1)),
    ),
    batch_stats=st.lists(
        st.builds(wire.InferBatchStatistics, batch_size=st.integers(0, 64)), max_size=2
    ),
)
CONFIGS = st.builds(
    config.ModelConfig,
    name=st.just("m"),
    max_batch_size=st.integers(0, 64),
    input=st.lists(
        st.builds(
            config.ModelInput,
            name=st.just("x"),
            data_type=st.sampled_from([config.TYPE_FP32, config.TYPE_STRING]),
            dims=st.lists(st.integers(-1, 1 << 40), max_size=3),
        ),
        max_size=2,
    ),
    parameters=st.dictionaries(
        st.sampled_from("ab"), st.builds(config.ModelParameter, string_value=st.just("v"))
    ),
    sequence_batching=st.none() | st.builds(config.ModelSequenceBatching),
)


@given(STATISTICS | CONFIGS)
@example(config.ModelConfig(version_policy=config.ModelVersionPolicy(all={})))
def test_a_message_is_protobufs_json_with_every_integer_a_number(message):
    theirs = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert plain(message) == numbers(theirs)
    json.dumps(plain(message), allow_nan=False)
