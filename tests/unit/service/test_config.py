"""config.pbtxt is read with Triton's meaning, and written so that it reads the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.errors import ModelProblem
from rnnserve.repository.config import format_config, parse_config, read_config
from rnnserve.repository.dtypes import NUMBERS
from rnnserve.repository.spec import (
    FREE,
    CarrySpec,
    ConstantSpec,
    ControlSpec,
    Mark,
    ModelSpec,
    QueueSpec,
    TensorSpec,
)

GOOD = """
name: "m"  backend: "onnxruntime"  max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: -1 dims: 32 } ]  # both forms of a list
sequence_batching { oldest { max_candidate_sequences: 64 } state [
  { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 2, 32 ]
    initial_state: { name: "z" data_type: TYPE_FP32 dims: [ 2, 32 ] zero_data: true } } ] }
"""
STATELESS = GOOD[: GOOD.index("sequence_batching")]
TIME = 'parameters { key: "time_axis" value { string_value: "1" } } '

FP32 = np.dtype(np.float32)
names = st.text("abcxyz_0123", min_size=1, max_size=8)
shapes = st.lists(st.integers(1, 9), max_size=3).map(tuple)
free_shapes = st.lists(st.sampled_from([FREE, 1, 3]), max_size=3).map(tuple)
dtypes = st.sampled_from(sorted(NUMBERS, key=str))
numbers = dtypes.filter(lambda dtype: dtype.kind != "O")
ints = st.sampled_from([np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.uint8)])
axes = st.integers(0, 2)


def tensors(shapes, dtypes=dtypes):
    plain = st.builds(TensorSpec, names, dtypes, shapes, batch_axis=axes)
    bounded = st.builds(TensorSpec, names, ints, shapes, st.integers(0, 5), st.integers(6, 99))
    return plain | bounded


def outputs(shapes, dtypes=dtypes):
    return st.builds(TensorSpec, names, dtypes, shapes, batch_axis=axes)


fixed = st.builds(CarrySpec, names, names, numbers, shapes, batch_axis=axes)
carries = st.builds(CarrySpec, names, names, dtypes, shapes, batch_axis=axes)
growing = st.builds(
    CarrySpec, names, names, dtypes, st.just((FREE, 2)), st.just(b""), st.just((3, 2))
)
once = st.builds(CarrySpec, names, st.just(""), dtypes, shapes)
controls = st.builds(
    ControlSpec,
    names,
    st.sampled_from([Mark.START, Mark.END, Mark.READY]),
    st.sampled_from([np.dtype("<i4"), np.dtype("<f4"), np.dtype("?")]),
    st.just(0),
    st.just(1),
) | st.builds(ControlSpec, names, st.just(Mark.CORRID), st.just(np.dtype("<u8")))
constants = st.builds(ConstantSpec, names, st.sampled_from(["16000", "[1, 2]", "0.5"]))


def unique(entries, by, **bounds):
    return st.lists(entries, unique_by=by, **bounds).map(tuple)


@given(
    inputs=unique(tensors(shapes, numbers), lambda t: t.name, min_size=1, max_size=3),
    outputs=unique(outputs(shapes, numbers), lambda t: t.name, min_size=1, max_size=3),
    carry=unique(fixed, (lambda c: c.input_name, lambda c: c.output_name), max_size=4),
    max_batch=st.integers(1, 1024),
    idle_s=st.none() | st.integers(1, 10**6).map(float),
)
def test_what_is_written_of_a_model_with_time_reads_the_same(
    inputs, outputs, carry, max_batch, idle_s
):
    groups = [{t.name for t in inputs}, {t.name for t in outputs}, {c.input_name for c in carry}]
    if len(set().union(*groups)) != sum(map(len, groups)):
        return
    spec = ModelSpec("m", 3, max_batch, inputs, outputs, carry, idle_timeout_s=idle_s)
    assert parse_config(format_config(spec), "m", 3) == spec


@given(
    inputs=unique(tensors(free_shapes), lambda t: t.name, min_size=1, max_size=3),
    outputs=unique(outputs(free_shapes), lambda t: t.name, min_size=1, max_size=3),
    carry=unique(carries | growing, (lambda c: c.input_name, lambda c: c.output_name), max_size=3),
    once=unique(once, lambda c: c.input_name, max_size=2),
    controls=unique(controls, lambda c: c.name, max_size=4),
    constants=unique(constants, lambda c: c.name, max_size=2),
    has_rows=st.booleans(),
)
def test_what_is_written_of_a_model_without_time_reads_the_same(
    inputs, outputs, carry, once, controls, constants, has_rows
):
    groups = ({t.name for t in inputs}, {t.name for t in outputs})
    groups += ({c.input_name for c in carry}, {c.input_name for c in once})
    groups += ({c.name for c in controls}, {c.name for c in constants})
    if len(set().union(*groups)) != sum(map(len, groups)):
        return
    spec = ModelSpec(
        *("m", 3, 8 if has_rows else 1, inputs, outputs, carry + once),
        has_time=False,
        has_rows=has_rows,
        controls=controls,
        constants=tuple(sorted(constants, key=lambda c: c.name)),
    )
    assert parse_config(format_config(spec), "m", 3) == spec


def test_a_request_is_one_run_unless_the_model_says_that_it_has_time():
    spec = parse_config(GOOD, "m", 1)
    assert spec.inputs == (TensorSpec("x", FP32, (FREE, 16)),)
    assert (spec.has_time, spec.is_shaped) == (False, True)
    spec = parse_config(TIME + GOOD, "m", 1)
    assert spec.inputs == (TensorSpec("x", FP32, (16,)),)
    assert (spec.has_time, spec.is_shaped) == (True, False)
    assert spec.carry == (CarrySpec("h", "hn", FP32, (2, 32)),)
    assert spec.carry_bytes == 2 * 32 * 4


def test_without_a_batch_dims_are_whole_shapes():
    spec = parse_config(GOOD.replace("max_batch_size: 8", ""), "m", 1)
    assert (spec.has_rows, spec.max_batch) == (False, 1)


def test_without_sequences_requests_stand_alone():
    spec = parse_config(
        STATELESS
        + "dynamic_batching { default_queue_policy { max_queue_size: 7 "
        + "default_timeout_microseconds: 2000000 } }",
        "m",
        1,
    )
    assert (spec.is_sequential, spec.is_shaped) == (False, True)
    assert spec.queue == QueueSpec(7, 2.0)


def test_the_idle_timeout_is_the_models_where_it_says_one():
    assert parse_config(GOOD, "m", 1).idle_timeout_s is None
    idle = GOOD.replace("oldest", "max_sequence_idle_microseconds: 5000000 oldest")
    assert parse_config(idle, "m", 1).idle_timeout_s == 5.0


def test_a_state_begins_with_the_bytes_of_its_file():
    text = GOOD.replace("zero_data: true", 'data_file: "h.bin"')
    values = np.arange(64, dtype=FP32)
    files = {"h.bin": values.tobytes() + b"more than needed"}
    spec = read_config(text, "m", files.__getitem__).spec
    assert spec.carry[0].initial == values.tobytes()
    with pytest.raises(ModelProblem, match=r"'h'.*255 bytes.*256"):
        read_config(text, "m", lambda name: values.tobytes()[:-1])


def test_what_is_free_begins_as_the_initial_state_says_or_as_one():
    grows = GOOD.replace("dims: [ 2, 32 ]\n", "dims: [ -1, 32 ]\n")
    assert parse_config(grows, "m", 1).carry[0].begins_as == (2, 32)
    bare = grows[: grows.index("initial_state")] + "} ] }"
    assert parse_config(bare, "m", 1).carry[0].begins_as == (1, 32)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("max_batch_size: 8", "max_batch_size: -1", "max_batch_size"),
        ("max_batch_size", "max_batch_sise", "max_batch_sise"),
        ('"m"', '"other"', "other"),
        ('"onnxruntime"', '"pytorch"', "backend"),
        ("max_batch_size: 8", 'platform: "tensorrt_plan"', "platform"),
        ("TYPE_FP32 dims: [ -1, 16 ]", "TYPE_BF16 dims: [ -1, 16 ]", "TYPE_BF16"),
        ("dims: [ -1, 16 ]", "dims: [ 0, 16 ]", "'x'"),
        ("dims: [ -1, 16 ]", "dims: [ -1, 16 ] reshape { shape: [ 16 ] }", "reshape"),
        ("dims: [ -1, 16 ]", "dims: [ -1, 16 ] optional: true", "optional"),
        ("dims: [ -1, 16 ]", "dims: [ -1, 16 ] allow_ragged_batch: true", "allow_ragged_batch"),
        ("dims: [ -1, 16 ]", "dims: [ -1, 16 ] is_shape_tensor: true", "is_shape_tensor"),
        ("dims: [ 2, 32 ]\n", "dims: [ 3, 32 ]\n", "initial_state.dims"),
        ("dims: [ 2, 32 ]\n", "dims: [ -2, 32 ]\n", "'h'"),
        ("zero_data: true", "", "zero_data"),
        ('name: "z"', "", "initial_state.name"),
        ("TYPE_FP32 dims: [ 2, 32 ] zero", "TYPE_FP16 dims: [ 2, 32 ] zero", "data_type"),
        ("oldest {", "iterative_sequence: true oldest {", "iterative_sequence"),
        ("input [", "response_cache { enable: true } input [", "response_cache"),
        ("input [", "model_transaction_policy { decoupled: true } input [", "decoupled"),
        ("input [", "batch_input { } input [", "batch_input"),
        ("input [", "model_repository_agents { agents { } } input [", "model_repository_agents"),
        (
            "input [",
            'model_operations { op_library_filename: "a.so" } input [',
            "op_library_filename",
        ),
        (
            "oldest {",
            'control_input { name: "S" control { kind: CONTROL_SEQUENCE_START } } oldest {',
            "'S'",
        ),
        (
            "oldest {",
            'control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID '
            "data_type: TYPE_FP32 } } oldest {",
            "CORRID",
        ),
        (
            "input [",
            'parameters { key: "input.q.range" value { string_value: "0:3" } } input [',
            "q",
        ),
        (
            "input [",
            'parameters { key: "input.x.range" value { string_value: "3" } } input [',
            "range",
        ),
        (
            "input [",
            'parameters { key: "time_axis" value { string_value: "2" } } input [',
            "time_axis",
        ),
        (
            "input [",
            'parameters { key: "batch_axis.q" value { string_value: "1" } } input [',
            "batch_axis",
        ),
        (
            "input [",
            'parameters { key: "time_axis" value { string_value: "1" } } '
            'input [ { name: "t" data_type: TYPE_STRING dims: [ -1 ] },',
            "time_axis",
        ),
        ("input [", 'input [ { name: "h" data_type: TYPE_FP32 dims: [ 2, 32 ] },', "'h'"),
        (
            "input [",
            'parameters { key: "constant.x" value { string_value: "1" } } input [',
            "'x'",
        ),
        (
            "oldest {",
            'control_input { name: "h" control { kind: CONTROL_SEQUENCE_START '
            "fp32_false_true: [ 0, 1 ] } } oldest {",
            "'h'",
        ),
        ("oldest {", 'control_input { name: "S" control { kind: 9 } } oldest {', "'S'"),
        ("input [", 'parameters { key: "once.q" value { string_value: "true" } } input [', "once"),
        (
            "input [",
            'parameters { key: "constant.q" value { string_value: "{" } } input [',
            "constant.q",
        ),
    ],
)
def test_what_cannot_be_honoured_stops_the_model_and_is_named(old, new, named):
    assert old in GOOD
    with pytest.raises(ModelProblem, match=named):
        parse_config(GOOD.replace(old, new, 1), "m", 1)


@pytest.mark.parametrize(
    ("batching", "named"),
    [
        ("priority_levels: 2", "priority_levels"),
        ("default_queue_policy { timeout_action: DELAY }", "timeout_action"),
    ],
)
def test_queue_policies_that_cannot_be_honoured_are_named(batching, named):
    with pytest.raises(ModelProblem, match=named):
        parse_config(f"{STATELESS} dynamic_batching {{ {batching} }}", "m", 1)


ONCE = 'parameters { key: "once.x" value { string_value: "true" } } '


def test_what_a_session_sets_once_needs_something_to_step_with():
    with pytest.raises(ModelProblem, match="comes with every step"):
        parse_config(ONCE + GOOD.replace("[ -1, 16 ]", "[ 16 ]"), "m", 1)


def test_what_a_session_sets_once_needs_sessions():
    more = 'input [ { name: "z" data_type: TYPE_FP32 dims: 1 },'
    text = STATELESS.replace("[ -1, 16 ]", "[ 16 ]").replace("input [", more)
    with pytest.raises(ModelProblem, match="sequence_batching"):
        parse_config(ONCE + text, "m", 1)


def test_an_ensemble_is_refused_by_its_field():
    with pytest.raises(ModelProblem, match="ensemble_scheduling"):
        parse_config(STATELESS + "ensemble_scheduling { }", "m", 1)


def test_two_states_that_share_a_name_are_refused():
    twice = GOOD.replace("state [", 'state [ { input_name: "h" output_name: "g" } ,')
    with pytest.raises(ModelProblem, match="input_name"):
        parse_config(twice, "m", 1)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("instance_group [ { count: 2 kind: KIND_GPU } ]", "KIND_GPU"),
        ("instance_group [ { count: 2 } ]", "one instance"),
        ("optimization { cuda { graphs: true } }", "optimization"),
        ('model_warmup { name: "w" }', "model_warmup"),
        ('parameters { key: "execution_mode" value { string_value: "0" } }', "execution_mode"),
    ],
)
def test_what_changes_no_answer_is_taken_note_of(more, named):
    config = read_config(GOOD + more, "m", lambda name: b"")
    assert any(named in note for note in config.notes)
