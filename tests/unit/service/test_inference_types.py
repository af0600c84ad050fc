"""The protocol over real graphs: requests that stand alone, and every type that there is."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_models as tiny
from rnnserve.repository import strings
from rnnserve.triton import grpc_service_pb2 as wire
from unit.service.inference_calls import Calls, add, arrays, one, request, start, words


def test_rows_of_one_request_are_answered_row_by_row():
    calls = Calls(tiny.adder())
    a, b = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    reply = arrays(calls.ask(request("adder", {"B": b, "A": a})))
    np.testing.assert_array_equal(reply["SUM"], a + b)
    np.testing.assert_array_equal(reply["DIFFERENCE"], a - b)


@given(st.lists(st.text(max_size=4), max_size=4))
def test_text_comes_back_as_it_came_raw_or_typed(elements):
    calls = Calls(tiny.text())
    raw, typed = wire.ModelInferRequest(model_name="text"), wire.ModelInferRequest()
    add(raw, "words", words(*elements))
    typed.CopyFrom(raw)
    typed.ClearField("raw_input_contents")
    typed.inputs[0].contents.bytes_contents.extend(element.encode() for element in elements)
    for asked in (raw, typed):
        assert arrays(calls.ask(asked))["same"].tolist() == [elements]


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (b"", "wrong_size"),
        (b"\x01\0\0\0a", "wrong_size"),
        (b"\x01\0\0\0a" * 3, "wrong_size"),
        (b"\x01\0\0\0\xff\x01\0\0\0a", "value_out_of_range"),
        (b"\x01\0\0\0a\xff\xff\xff\xffa", "value_out_of_range"),
        (b"\x01\0\0\0a\x01\0", "value_out_of_range"),
    ],
)
def test_bytes_that_are_not_two_texts_are_refused(memory, reason):
    calls = Calls(tiny.text())
    asked = wire.ModelInferRequest(model_name="text", raw_input_contents=[memory])
    asked.inputs.add(name="words", datatype="BYTES", shape=[1, 2])
    assert calls.refusal(asked)[0] == reason


TYPED = {
    "BOOL": "bool_contents",
    **dict.fromkeys(["INT8", "INT16", "INT32"], "int_contents"),
    **dict.fromkeys(["UINT8", "UINT16", "UINT32"], "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""FP16 travels raw alone."""
MOST = {
    of: (dtype.type(1) if dtype.kind == "b" else np.iinfo(dtype).max)
    for of, dtype in tiny.DTYPES.items()
    if dtype.kind in "biu"
}


def everything(types: Iterable[str]) -> dict[str, np.ndarray]:
    """Two rows of each of these types, with the largest number that it has."""
    rows = {}
    for of in types:
        if of == "BYTES":
            rows[f"in_{of}"] = strings.as_array(["", "ü", "a\0b"] * 2, (2, 3))
        else:
            rows[f"in_{of}"] = np.array([[0, 1, MOST.get(of, 0.5)]] * 2, tiny.DTYPES[of])
    return rows


def asked_for_everything(given: dict[str, np.ndarray], typed: bool) -> wire.ModelInferRequest:
    asked = wire.ModelInferRequest(model_name="everything")
    for name, rows in given.items():
        of = name.removeprefix("in_")
        tensor = asked.inputs.add(name=name, datatype=of, shape=rows.shape)
        values = rows.ravel().tolist()
        if not typed:
            memory = strings.pack(rows) if of == "BYTES" else rows.tobytes()
            asked.raw_input_contents.append(memory)
        elif of == "BYTES":
            tensor.contents.bytes_contents.extend(value.encode() for value in values)
        else:
            getattr(tensor.contents, TYPED[of]).extend(values)
    return asked


def test_every_type_that_onnxruntime_runs_comes_back_as_it_came():
    given = everything(tiny.ONNX_TYPES)
    reply = arrays(Calls(tiny.everything()).ask(asked_for_everything(given, typed=False)))
    assert [name.removeprefix("out_") for name in reply] == list(tiny.ONNX_TYPES)
    for name, rows in given.items():
        assert reply[name.replace("in", "out", 1)].tolist() == rows.tolist()


def test_every_type_that_has_typed_contents_comes_back_as_it_came():
    given = everything(TYPED)
    calls = Calls(tiny.everything(TYPED))
    reply = arrays(calls.ask(asked_for_everything(given, typed=True)))
    for name, rows in given.items():
        assert reply[name.replace("in", "out", 1)].tolist() == rows.tolist()


def test_a_type_without_typed_contents_says_so():
    calls = Calls(tiny.accumulator("FP16"))
    asked = start("sum_fp16", {"x": one(1, "FP16")}, id="r")
    asked.ClearField("raw_input_contents")
    assert calls.refusal(asked)[0] == "missing_field"
    asked.inputs[0].contents.fp32_contents.append(1.0)
    assert calls.refusal(asked) == (
        "wrong_dtype",
        "[request id: r] input 'x' is FP16, which has no typed contents: send it in "
        "raw_input_contents",
    )


def test_the_type_is_told_before_what_is_wrong_with_its_data():
    calls = Calls(tiny.accumulator())
    for datatype in ("FLOAT", "BYTES", "BF16", ""):
        asked = start("sum_fp32", {"x": one(1)}, id="r")
        asked.ClearField("raw_input_contents")
        asked.inputs[0].datatype = datatype
        asked.inputs[0].contents.fp32_contents.append(1.0)
        assert calls.refusal(asked) == (
            "wrong_dtype",
            f"[request id: r] inference input 'x' data-type is '{datatype}', but model 'sum_fp32' "
            "expects 'FP32'",
        )
