"""Folders of a Triton repository that can't be served, each for one reason."""

from tiny_folders import BATCHED, STATE, SUM, XY
from tiny_models import TinyModel


def broken() -> list[tuple[TinyModel, str]]:
    """Each with what the reason has to name."""
    return [
        *((TinyModel(name, text, SUM), names) for name, text, names in BROKEN_TEXTS),
        (TinyModel("not_onnx", f"{BATCHED} sequence_batching {{ {STATE} }}", b"no graph"), "ONNX"),
        (
            TinyModel("short_file", begins_with_file("few"), SUM, {"initial_state/few": b"abc"}),
            "data_file",
        ),
    ]


def begins_with_file(file_name: str) -> str:
    """The configuration of the sum that begins with what this file has."""
    initial = (
        'dims: [ 1 ] initial_state { name: "begin" data_type: TYPE_FP32 dims: [ 1 ] '
        f'data_file: "{file_name}" }}'
    )
    return f"{BATCHED} sequence_batching {{ {STATE.replace('dims: [ 1 ]', initial)} }}"


BROKEN_TEXTS = (
    (
        "ensemble",
        f"{XY} ensemble_scheduling {{ step [ ] }}",
        "ensemble_scheduling",
    ),
    (
        "iterative",
        f"{BATCHED} sequence_batching {{ iterative_sequence: true {STATE} }}",
        "sequence_batching.iterative_sequence",
    ),
    (
        "cached",
        f"{BATCHED} response_cache {{ enable: true }} sequence_batching {{ {STATE} }}",
        "response_cache",
    ),
    (
        "decoupled",
        f"{BATCHED} model_transaction_policy {{ decoupled: true }} sequence_batching {{ {STATE} }}",
        "model_transaction_policy.decoupled",
    ),
    (
        "other_backend",
        f'backend: "python" max_batch_size: 8 {XY} sequence_batching {{ {STATE} }}',
        "backend",
    ),
    (
        "other_name",
        f'name: "somebody" {BATCHED} sequence_batching {{ {STATE} }}',
        "name",
    ),
    ("no_text", "{ this is no text format", "config.pbtxt"),
    ("new_field", f"{BATCHED} sequence_batching {{ {STATE} }} teleport: true", "teleport"),
    (
        "wrong_dims",
        f"{BATCHED} sequence_batching {{ {STATE} }}".replace("dims: [ 1 ]", "dims: [ 2 ]", 1),
        "'x'",
    ),
    (
        "wrong_type",
        f"{BATCHED} sequence_batching {{ {STATE.replace('FP32', 'INT64')} }}",
        "'h'",
    ),
    (
        "no_such_output",
        f"{BATCHED} sequence_batching {{ {STATE.replace('hn', 'h_new')} }}",
        "'h_new'",
    ),
    ("undeclared", f"{BATCHED} dynamic_batching {{ }}", "'h'"),
    ("no_file", begins_with_file("nowhere"), "nowhere"),
    ("outside", begins_with_file("../config.pbtxt"), "../config.pbtxt"),
    (
        "begins_wide",
        begins_with_file("any").replace("dims: [ 1 ] data_file", "dims: [ 2 ] data_file"),
        "initial_state.dims",
    ),
    (
        "no_such_control",
        f"{BATCHED} sequence_batching {{ {STATE} control_input {{ name: 'start' control {{ "
        "kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } } }",
        "'start'",
    ),
    (
        "half_control",
        f"{BATCHED} sequence_batching {{ {STATE} control_input {{ name: 'start' control {{ "
        "kind: CONTROL_SEQUENCE_START fp32_false_true: [ 1 ] } } }",
        "'start'",
    ),
    (
        "fractional_id",
        f"{BATCHED} sequence_batching {{ {STATE} control_input {{ name: 'id' control {{ "
        "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } } }",
        "CORRID",
    ),
    (
        "reshaped_wide",
        f"{BATCHED} sequence_batching {{ {STATE} }}".replace(
            "dims: [ 1 ]", "dims: [ 1 ] reshape { shape: [ 3 ] }", 1
        ),
        "reshape",
    ),
    (
        "priorities",
        f"{BATCHED} dynamic_batching {{ priority_levels: 3 }}",
        "dynamic_batching.priority_levels",
    ),
    (
        "absent_version",
        f"version_policy {{ specific {{ versions: [ 1, 7 ] }} }} {BATCHED} "
        f"sequence_batching {{ {STATE} }}",
        "version_policy",
    ),
)
