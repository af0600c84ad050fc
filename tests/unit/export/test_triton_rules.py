"""What the exporter writes is Triton's to serve as well, and what isn't is told."""

import pytest
from google.protobuf import text_format

from rnnserve.repository.config import format_config
from rnnserve.repository.graph import read_graph
from rnnserve.triton import model_config_pb2 as triton
from rnnserve_export.triton_rules import graph_problems, triton_problems
from small_models import KINDS, publish, small_model

MODEL = small_model("lstm", 2)
GRAPH = read_graph(MODEL.graph, "lstm2")
TEXT = format_config(MODEL.spec)


def problems(text: str) -> list[str]:
    return graph_problems(text_format.Parse(text, triton.ModelConfig()), GRAPH)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_what_the_exporter_writes_is_tritons_too(tmp_path, cell, layers):
    publish(small_model(cell, layers), tmp_path)
    assert triton_problems(tmp_path, f"{cell}{layers}") == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name: "tokens"', 'name: "ids"', "'tokens'"),
        ('name: "logits"', 'name: "scores"', "'logits'"),
        ('input_name: "h0"', 'input_name: "h9"', "'h0'"),
        ('output_name: "h0_next"', 'output_name: "h9_next"', "'h0_next'"),
        ("TYPE_INT64", "TYPE_INT32", "'tokens' is TYPE_INT64"),
        ("max_batch_size: 256", "max_batch_size: 0", "'tokens' is"),
        ("initial_state {", 'initial_state { name: "z" } initial_state {', "other"),
        ('name: "h0_zeros"', "", "needs a name"),
        (
            "parameters {",
            'parameters { key: "batch_axis.h0" value { string_value: "1" } } parameters {',
            "batch_axis",
        ),
        (
            "sequence_batching {",
            'sequence_batching { control_input { name: "tokens" '
            "control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } } ",
            "'tokens' is declared more than once",
        ),
    ],
)
def test_what_triton_would_not_take_is_named(old, new, named):
    assert old in TEXT
    assert problems(TEXT) == []
    assert any(named in problem for problem in problems(TEXT.replace(old, new, 1)))


def test_pairs_that_triton_would_swap_are_told():
    config = text_format.Parse(TEXT, triton.ModelConfig())
    first, second = config.sequence_batching.state[:2]
    first.output_name, second.output_name = second.output_name, first.output_name
    assert any("swap" in problem for problem in graph_problems(config, GRAPH))


def test_a_state_without_a_beginning_is_told():
    config = text_format.Parse(TEXT, triton.ModelConfig())
    config.sequence_batching.state[0].ClearField("initial_state")
    assert any("initial_state" in problem for problem in graph_problems(config, GRAPH))


def test_a_damaged_repository_is_told_not_raised(tmp_path):
    publish(MODEL, tmp_path)
    (tmp_path / "lstm2" / "1" / "model.onnx").write_bytes(MODEL.graph[:100])
    (told,) = triton_problems(tmp_path, "lstm2")
    assert "version 1" in told
    (tmp_path / "lstm2" / "config.pbtxt").write_text("max_batch_sise: 1")
    (told,) = triton_problems(tmp_path, "lstm2")
    assert "max_batch_sise" in told
