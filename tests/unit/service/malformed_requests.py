"""Requests of the Open Inference Protocol that are wrong: out of nothing, or good ones spoiled."""

import numpy as np
from hypothesis import strategies as st

from rnnserve.repository import strings
from rnnserve.repository.spec import FREE, CarrySpec, ModelSpec, TensorSpec
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.datatypes import NAMES, name_of

Request = wire.ModelInferRequest

names = st.sampled_from(["x", "tokens", "y", "h", "start", "", "X", "x" * 300, "\x01", "ü"])
dims = st.sampled_from([0, 1, 2, 3, -1, -5, 2**31, 2**62, -(2**63)]) | st.integers(0, 9)
shapes = st.lists(dims, max_size=5)
datatypes = st.sampled_from([*NAMES.values(), "BF16", "", "FLOAT", "fp32", "\x01"])
memory = st.binary(max_size=40) | st.sampled_from([4, 8, 12, 16, 24]).map(bytes)
values = st.one_of(
    st.booleans().map(lambda v: wire.InferParameter(bool_param=v)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: wire.InferParameter(int64_param=v)),
    st.integers(0, 2**64 - 1).map(lambda v: wire.InferParameter(uint64_param=v)),
    st.sampled_from([0.0, -1.5, 1e300]).map(lambda v: wire.InferParameter(double_param=v)),
    st.text(max_size=5).map(lambda v: wire.InferParameter(string_param=v)),
    st.just(wire.InferParameter()),
)
keys = st.sampled_from(
    [
        *("sequence_id", "sequence_start", "sequence_end", "timeout", "priority", "mine", ""),
        *("triton_enable_empty_final_response", "triton_x", "shared_memory_region"),
    ]
)
contents = st.builds(
    wire.InferTensorContents,
    bool_contents=st.lists(st.booleans(), max_size=2),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2),
    int64_contents=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2),
    uint_contents=st.lists(st.integers(0, 2**32 - 1), max_size=2),
    uint64_contents=st.lists(st.integers(0, 2**64 - 1), max_size=2),
    fp32_contents=st.lists(st.sampled_from([0.0, 1.0, float("nan")]), max_size=2),
    fp64_contents=st.lists(st.sampled_from([0.0, 1e300]), max_size=2),
    bytes_contents=st.lists(st.binary(max_size=3), max_size=2),
)
tensors = st.builds(
    Request.InferInputTensor,
    name=names,
    datatype=datatypes,
    shape=shapes,
    parameters=st.dictionaries(keys, values, max_size=1),
    contents=st.none() | contents,
)


def requests(models: list[str]) -> st.SearchStrategy[Request]:
    """Out of nothing, to one of these models or to none."""
    return st.builds(
        Request,
        model_name=st.sampled_from([*models, "nobody", "", "../etc"]),
        model_version=st.sampled_from(["", "1", "2", "x", "-1", "1" * 30]),
        id=st.sampled_from(["", "id", "ü\n", "i" * 5000]),
        parameters=st.dictionaries(keys, values, max_size=4),
        inputs=st.lists(tensors, max_size=3),
        outputs=st.lists(st.builds(Request.InferRequestedOutputTensor, name=names), max_size=2),
        raw_input_contents=st.lists(memory, max_size=3),
    )


def good(spec: ModelSpec, number: int = 1, *, starts: bool = True) -> Request:
    """A request of zeros that the model takes: two rows where requests stand alone, two steps where
    there is time, 2 where a dimension is free."""
    made = Request(model_name=spec.name)
    for tensor in (*spec.inputs, *spec.once):
        shape = tuple(2 if dim == FREE else dim for dim in tensor.shape)
        if spec.has_time and isinstance(tensor, TensorSpec):
            shape = (2, *shape)
        if spec.has_rows:
            shape = (1 if spec.is_sequential else 2, *shape)
        name = tensor.input_name if isinstance(tensor, CarrySpec) else tensor.name
        made.inputs.add(name=name, datatype=name_of(tensor.dtype), shape=shape)
        zeros = np.full(shape, "" if tensor.dtype.kind == "O" else 0, tensor.dtype)
        is_text = tensor.dtype.kind == "O"
        made.raw_input_contents.append(strings.pack(zeros) if is_text else zeros.tobytes())
    if spec.is_sequential:
        made.parameters["sequence_id"].int64_param = number
        made.parameters["sequence_start"].bool_param = starts
    return made


@st.composite
def spoiled(draw: st.DrawFn, spec: ModelSpec) -> Request:
    """A good request with up to three things done to it."""
    made = good(spec, draw(st.integers(1, 3)), starts=draw(st.booleans()))
    for _ in range(draw(st.integers(1, 3))):
        tensor = draw(st.sampled_from(list(made.inputs))) if made.inputs else made.inputs.add()
        place = draw(st.integers(0, max(0, len(made.raw_input_contents) - 1)))
        match draw(st.integers(0, 10)):
            case 0:
                tensor.name = draw(names)
            case 1:
                tensor.datatype = draw(datatypes)
            case 2:
                tensor.ClearField("shape")
                tensor.shape.extend(draw(shapes))
            case 3 if made.raw_input_contents:
                made.raw_input_contents[place] = draw(memory)
            case 4:
                made.parameters[draw(keys)].CopyFrom(draw(values))
            case 5:
                made.inputs.append(draw(tensors))
            case 6:
                tensor.contents.CopyFrom(draw(contents))
                if draw(st.booleans()):
                    made.ClearField("raw_input_contents")
            case 7:
                made.outputs.add(name=draw(names))
            case 8:
                made.raw_input_contents.append(draw(memory))
            case 9 if made.raw_input_contents:
                del made.raw_input_contents[place]
            case 10:
                made.inputs.remove(tensor)
    return made
