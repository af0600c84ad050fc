"""`rnnserve inspect`: what a file is taken for, in words and in JSON, whatever the file."""

import io
import json
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from foreign_models import denoiser, file_of, layered, value, voice_activity
from rnnserve.errors import OperatorError
from rnnserve.repository.tree import MAX_GRAPH_BYTES
from rnnserve_export.draft import Draft
from rnnserve_export.foreign.errors import BadHint, ForeignError
from rnnserve_export.foreign.inspecting import inspect_file
from rnnserve_export.foreign.options import InspectOptions, Overrules
from rnnserve_export.foreign.reading import Role

from . import odd_models


@pytest.fixture
def look(tmp_path, monkeypatch):
    """The reading of a graph, and what was said of it."""
    monkeypatch.chdir(tmp_path)

    def look(graph, width=80, options=InspectOptions(), **said):  # noqa: B008
        path = Path("model.onnx")
        path.write_bytes(graph)
        console = Console(file=io.StringIO(), width=width)
        reading = inspect_file(path, options, Overrules(**said), console)
        return reading, console.file.getvalue()

    return look


def plain(dims, states, outputs=None):
    """A graph with the inputs `dims`, whose outputs are sums; only shapes matter here."""
    draft = Draft()
    names = list(dims)
    outputs = outputs or {"y": dims[names[0]]}
    for name in outputs:
        draft.node("Identity", [names[0]], name)
    for before, after in states.items():
        draft.node("Neg", [before], after)
    given = [value(name, shape) for name, shape in dims.items()]
    ends = [value(name, shape) for name, shape in outputs.items()]
    return file_of(draft, given, ends + [value(states[n], dims[n]) for n in states])


def test_the_shapes_that_are_common_outside_need_no_hint_but_the_constant(look):
    for model in (voice_activity(), denoiser(), layered()):
        reading, _ = look(model.graph)
        assert {pair.input: pair.output for pair in reading.pairs} == model.states
        asked = [
            question for question in reading.questions if "--constant sr=16000" not in question
        ]
        assert asked == []


def test_the_report_has_every_fact_and_fits_a_narrow_terminal(look):
    _, said = look(voice_activity().graph)
    assert max(map(len, said.splitlines())) <= 80
    for fact in ("[2, N, 128]", "axis 1", "next state", "certain", "opset 17", "constant", "KiB"):
        assert fact in said
    assert said.splitlines()[-1].startswith("rnnserve import ")
    assert said.splitlines()[-1].endswith("model.onnx --constant sr=16000")


def test_the_json_is_all_that_is_written_and_says_the_same(look):
    reading, said = look(voice_activity().graph, options=InspectOptions(json=True))
    found = json.loads(said)
    assert found["states"][0] | {"why": None} == {
        "in": "state", "out": "stateN", "sure": "certain", "why": None,
    }  # fmt: skip
    assert {entry["name"]: entry["taken_for"] for entry in found["inputs"]} == {
        "input": "data", "state": "state", "sr": "constant",
    }  # fmt: skip
    assert {e["name"]: e["batch_axis"] for e in found["inputs"] + found["outputs"]} == {
        "input": 0, "state": 1, "sr": None, "output": 0, "stateN": 1,
    }  # fmt: skip
    assert found["questions"] == list(reading.questions)
    assert (found["rows"]["possible"], found["time"]["possible"]) == (True, False)
    assert (found["opset"], found["bytes"]) == (17, len(voice_activity().graph))


def test_what_is_said_is_taken_and_stands_in_the_command_that_follows(look):
    reading, said = look(
        voice_activity().graph,
        constant=("sr=8000",),
        batch_axis=("state=1",),
        data=("input",),
        state=("state:stateN",),
    )
    assert reading.questions == ()
    assert said.splitlines()[-1].endswith(
        "--state state:stateN --constant sr=8000 --data input --batch-axis state=1"
    )
    assert reading.pairs[0].why == ("you said so",)


def test_a_guess_is_asked_for_by_name_and_option(look):
    reading, said = look(odd_models.cell_by_hand("a", "b"))
    assert [f"--state {pair}" in said for pair in ("a:out_3", "b:out_2")] == [True, True]
    assert "--state a:out_3" in reading.questions[0]
    assert "--data a" in reading.questions[0]
    settled, _ = look(odd_models.cell_by_hand("a", "b"), state=("a:out_3", "b:out_2"))
    assert settled.questions == ()


def test_an_input_that_sounds_like_a_state_and_has_no_next_is_asked_for(look):
    graph = plain({"x": ["N", 3], "hidden": ["N", 5]}, {})
    reading, _ = look(graph)
    (question,) = reading.questions
    assert all(f"--{option} hidden" in question for option in ("state", "once", "data"))
    once, _ = look(graph, once=("hidden",))
    assert once.questions == ()
    assert once.roles["hidden"] is Role.ONCE


def test_an_output_that_is_all_the_graph_gives_is_a_result_though_it_is_a_state(look):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    graph = file_of(
        draft, [value("x", ["N", 3]), value("h", ["N", 3])], [value("h_next", ["N", 3])]
    )
    reading, said = look(graph)
    assert [tensor.name for tensor in reading.results] == ["h_next"]
    assert "next h and result" in said


@pytest.mark.parametrize(
    ("dims", "axes"),
    [
        ({"x": ["N", 3], "h": [2, "N", 4]}, {"x": 0, "h": 1}),
        ({"x": ["T", "B", 3], "h": ["B", 4]}, {"x": 1, "h": 0}),
        ({"x": ["", "", 3], "h": [2, "", 4]}, {"x": 0, "h": 1}),
        ({"x": ["unk__1", 3], "h": [1, "unk__2", 4]}, {"x": 0, "h": 1}),
        ({"x": ["", 3], "h": ["", "", 4]}, None),
        ({"x": [1, 3], "h": ["N", 4]}, {}),
        ({"x": [1, "T", 3], "h": [1, "P", 4]}, {}),
        ({"x": ["N", 3], "h": []}, {}),
        ({"x": ["batch", "time", 3], "h": ["time", "batch", 4]}, {"x": 0, "h": 1}),
    ],
)
def test_rows_are_the_axis_that_all_share_or_the_only_one_they_can_be(look, dims, axes):
    reading, _ = look(plain(dims, {"h": "h_out"}))
    if axes is None:
        assert "--batch-axis h=AXIS" in reading.questions[0]
        return
    assert {name: reading.rows.axes.get(name) for name in dims} == {
        name: axes.get(name) for name in dims
    }
    assert all(reading.rows.axes.get("h_out") == axis for n, axis in axes.items() if n == "h")


def test_where_there_are_no_rows_an_axis_called_batch_is_one(look):
    reading, _ = look(plain({"x": ["batch", 3], "h": [1, 4]}, {"h": "h_out"}))
    assert not reading.rows
    assert reading.file.inputs[0].dims == (1, 3)


@pytest.mark.parametrize(
    ("dims", "possible"),
    [
        ({"x": ["N", "T", 3], "h": ["N", 4]}, True),
        ({"x": ["N", "T"], "h": ["N", 4]}, True),
        ({"x": ["N", 5, 3], "h": ["N", 4]}, False),
        ({"x": ["N", "T", "F"], "h": ["N", 4]}, False),
        ({"x": ["N", "T", 3], "h": ["N", "P", 4]}, False),
        ({"x": [1, "T", 3], "h": [1, 4]}, False),
    ],
)
def test_time_can_only_be_a_free_axis_behind_the_rows_of_everything(look, dims, possible):
    reading, _ = look(plain(dims, {"h": "h_out"}))
    assert reading.time.is_possible is possible


def test_a_length_that_is_said_is_no_longer_free(look):
    graph = plain({"x": ["", ""], "h": [2, "", 4]}, {"h": "h_out"})
    reading, _ = look(graph, dims=("x=512",))
    assert reading.file.inputs[0].dims == ("", 512)
    with pytest.raises(BadHint, match="1 free axes"):
        look(graph, dims=("x=[512, 3]",))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"state": ("h",)}, "must read IN:OUT"),
        ({"state": ("stat:stateN",)}, "no input 'stat', but 'state'"),
        ({"state": ("state:stateM",)}, "no output 'stateM', but 'stateN'"),
        ({"state": ("input:stateN",)}, "type and shape must agree"),
        ({"state": ("state:stateN", "state:stateN")}, "nobody else's"),
        ({"constant": ("sr",)}, "must read NAME=VALUE"),
        ({"constant": ("sr=fast",)}, "must be a number, or a list"),
        ({"constant": ("pace=1",)}, "no input 'pace'; it has input, state, sr"),
        ({"once": ("nobody",)}, "no input 'nobody'"),
        ({"batch_axis": ("state=3",)}, "has no such axis"),
        ({"batch_axis": ("state=-1",)}, "has no such axis"),
        ({"batch_axis": ("state=0",)}, "axis 0 of state .2, N, 128. is fixed"),
        ({"dims": ("input=0",)}, "must be a length"),
        ({"dims": ("input=wide",)}, "must be a length"),
        ({"data": ("sr",), "constant": ("sr=1",)}, "can only be one of"),
        ({"data": ("sr", "sr"), "once": ("sr",)}, "can only be one of"),
    ],
)
def test_what_can_not_be_is_refused_with_the_option_and_the_tensor(look, said, sentence):
    with pytest.raises(BadHint, match=sentence):
        look(voice_activity().graph, **said)


def test_names_may_have_colons_and_equal_signs(look):
    graph = plain({"x:0": ["N", 3], "h:0": ["N", 4], "k=0": []}, {"h:0": "h_out:0"})
    reading, said = look(graph, state=("h:0:h_out:0",), constant=("k=0=2",))
    assert reading.hints.states == {"h:0": "h_out:0"}
    assert reading.hints.constants == {"k=0": "2"}
    assert "--state h:0:h_out:0 --constant k=0=2" in said


def test_what_can_not_be_served_is_a_line_of_the_report(look):
    reading, said = look(odd_models.with_custom_domain(), width=200)
    assert reading.file.custom_domains == ("com.example",)
    assert "problem" in said
    assert "com.example" in said
    assert "rnnserve import" not in said
    reading, said = look(odd_models.with_external_data(), width=200)
    assert reading.file.external == ("weights.bin",)
    assert "weights.bin" in said


def test_functions_of_the_file_itself_are_no_custom_domain(look):
    model = onnx.load_from_string(odd_models.accumulator())
    own = onnx.helper.make_opsetid("own", 1)
    double = onnx.helper.make_function(
        "own",
        "Double",
        ["a"],
        ["b"],
        [onnx.helper.make_node("Add", ["a", "a"], ["b"])],
        list(model.opset_import),
    )
    model.functions.append(double)
    model.opset_import.append(own)
    model.graph.node[1].CopyFrom(
        onnx.helper.make_node("Double", ["total_next"], ["y"], domain="own")
    )
    reading, _ = look(model.SerializeToString())
    assert reading.file.problems == ()
    assert reading.file.operators["", "Add"] == 2


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x09", odd_models.accumulator()[:-40]])
def test_what_is_no_whole_model_is_one_sentence(look, data):
    with pytest.raises(ForeignError, match="no ONNX model"):
        look(data)


def test_no_file_and_a_folder_are_one_sentence(tmp_path):
    for path in (tmp_path, tmp_path / "absent.onnx"):
        with pytest.raises(ForeignError, match="there is no file"):
            inspect_file(path, InspectOptions(), Overrules(), Console(file=io.StringIO()))


def test_a_file_of_absurd_size_is_not_even_read(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(MAX_GRAPH_BYTES + 1)  # takes no room
    with pytest.raises(ForeignError, match="at the most"):
        inspect_file(path, InspectOptions(), Overrules(), Console(file=io.StringIO()))


@given(st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_is_reported_or_refused_and_never_a_bug(look, data):
    graphs = [odd_models.sliding_window(), odd_models.counting(), odd_models.nameless_grus()]
    damaged = bytearray(data.draw(st.sampled_from(graphs)))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for options in (InspectOptions(), InspectOptions(json=True)):
        with suppress(OperatorError):
            look(bytes(damaged), options=options)
