"""The protocol over real graphs with known answers: what a Triton repository says is what is
served. `tiny_models` tells what each model computes."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import tiny_models as tiny
from rnnserve.errors import Refusal
from unit.service.inference_calls import Calls, add, arrays, goes_on, one, request, start, words


def sums(calls: Calls, values: Iterable[float], of: str = "FP32", number: int = 7) -> list:
    """What a sequence of these values is answered, step by step."""
    found = []
    for place, value in enumerate(values):
        asked = goes_on if place else start
        reply = calls.ask(asked(calls.spec.name, {"x": one(value, of)}, number))
        (y,) = arrays(reply)["y"].ravel().tolist()
        found.append(y)
    return found


# States.


@pytest.mark.parametrize("of", ["FP32", "FP16", "INT64", "INT32"])
def test_a_state_of_any_number_type_is_carried(of):
    assert sums(Calls(tiny.accumulator(of)), [1, 2, 4], of) == [1, 3, 7]


def test_a_state_of_truth_values_is_carried():
    calls = Calls(tiny.accumulator("BOOL"))
    assert sums(calls, [False, True, False], "BOOL") == [False, True, True]


@pytest.mark.parametrize(
    ("how", "first"), [({}, 1), ({"begins": "zero_data: true"}, 1), ({"begins_with": 40}, 41)]
)
def test_a_sequence_begins_with_what_the_configuration_says_and_again_at_every_start(how, first):
    calls = Calls(tiny.accumulator(**how))
    assert sums(calls, [1, 1]) == [first, first + 1]
    assert sums(calls, [1, 1]) == [first, first + 1]


def test_a_state_that_grows_is_the_sequences_own():
    calls = Calls(tiny.remembering())
    for number, length in ((1, 3), (2, 5), (1, 0), (2, 1), (1, 4)):
        x = np.full((1, length), number, np.float32)
        asked = start if length in (3, 5) else goes_on
        reply = arrays(calls.ask(asked("remembering", {"x": x}, number)))
        assert reply["y"].shape == (1, 1)
    x = np.ones((1, 1), np.float32)
    totals = [
        arrays(calls.ask(goes_on("remembering", {"x": x}, number)))["y"].item() for number in (1, 2)
    ]
    assert totals == [1 * (3 + 0 + 4) + 1, 2 * (5 + 1) + 1]
    assert calls.engine.audit() == []


def test_states_are_paired_by_their_entries_and_not_by_the_order_of_their_names():
    calls = Calls(tiny.counting())
    for count, (value, total) in enumerate(((10, 10), (20, 30), (30, 60)), 1):
        asked = goes_on if count > 1 else start
        reply = arrays(calls.ask(asked("counting", {"x": one(value, "INT64")})))
        assert (reply["y"].item(), reply["n"].item()) == (total, count)


# Controls.


@pytest.mark.parametrize(
    ("corrid", "number", "told"),
    [
        ("UINT64", -1, 2**64 - 1),
        ("INT64", 2**63 - 1, 2**63 - 1),
        ("UINT32", 2**32 + 5, 5),
        ("INT32", 2**32 + 5, 5),
        ("BYTES", "a name", "a name"),
    ],
)
def test_the_graph_is_told_each_mark_in_the_values_that_its_configuration_gives(
    corrid, number, told
):
    calls = Calls(tiny.marked(corrid))
    x = {"x": one(5)}
    found = [
        arrays(calls.ask(start("marked", x, number))),
        arrays(calls.ask(goes_on("marked", x, number))),
        arrays(calls.ask(goes_on("marked", x, number, sequence_end=True))),
    ]
    assert [reply["y"].item() for reply in found] == [5, 10, 15]
    assert [reply["start_was"].item() for reply in found] == [1, -1, -1]
    assert [reply["end_was"].item() for reply in found] == [False, False, True]
    assert [reply["ready_was"].item() for reply in found] == [1, 1, 1]
    assert [reply["id_was"].item() for reply in found] == [told] * 3


@pytest.mark.parametrize(
    ("corrid", "number", "got"), [("INT32", "a", "BYTES"), ("BYTES", 1, "UINT64")]
)
def test_a_number_that_the_graph_cannot_be_told_is_refused(corrid, number, got):
    calls = Calls(tiny.marked(corrid))
    assert calls.refusal(start("marked", {"x": one(1)}, number, id="r")) == (
        "wrong_sequence_id",
        f"[request id: r] sequence batching control 'id' data-type is '{got}', but model 'marked' "
        f"expects '{corrid}'",
    )


# Shapes.


def test_without_rows_the_dims_are_the_whole_shape():
    calls = Calls(tiny.unbatched())
    x = np.array([1, 2], np.float32)
    for asked, total in ((start, [1, 2]), (goes_on, [2, 4])):
        assert arrays(calls.ask(asked("unbatched", {"x": x})))["y"].tolist() == total
    assert calls.refusal(goes_on("unbatched", {"x": x[None]}, id="r")) == (
        "wrong_shape",
        "[request id: r] unexpected shape for input 'x' for model 'unbatched'. Expected [2], got "
        "[1,2]. ",
    )


def test_a_client_sees_the_dims_and_the_graph_the_reshape():
    calls = Calls(tiny.reshaped())
    assert sums(calls, [3, 4], "INT32") == [3, 7]
    reply = calls.ask(goes_on("reshaped", {"x": one(1, "INT32")}))
    assert arrays(reply)["y"].shape == (1, 1)


@given(st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=6), min_size=1, max_size=4))
def test_a_model_with_time_answers_each_step_of_a_chunk_however_it_is_cut(chunks):
    calls = Calls(tiny.timed())
    found: list[float] = []
    for place, chunk in enumerate(chunks):
        x = np.array(chunk, np.float32).reshape(1, -1, 1)
        reply = calls.ask((goes_on if place else start)("timed", {"x": x}))
        found += arrays(reply)["y"].ravel().tolist()
    assert found == np.cumsum(list(chain(*chunks))).tolist()


@pytest.mark.parametrize(
    "shape",
    [[1, 0, 2**62], [1, 2**62, 0], [1, 0, 2**31], [0, 2**31, 0], [1, 2**31, 2**31], [1, -1, 0], []],
)
def test_dimensions_that_no_array_can_have_are_refused_though_they_hold_nothing(shape):
    calls = Calls(tiny.table())
    asked = request("table", {"x": np.zeros((1, 0, 0), np.float32)})
    asked.inputs[0].ClearField("shape")
    asked.inputs[0].shape.extend(shape)
    assert calls.refusal(asked)[0] == "wrong_shape"
    reply = calls.ask(request("table", {"x": np.zeros((1, 0, 7), np.float32)}))
    assert arrays(reply)["same"].shape == (1, 0, 7)


def test_a_sequence_has_one_row_and_the_largest_batch_is_told_first():
    calls = Calls(tiny.accumulator())
    rows = {count: {"x": np.ones((count, 1), np.float32)} for count in (2, 9)}
    assert calls.refusal(start("sum_fp32", rows[2], id="r")) == (
        "batch_too_large",
        "inference request to model 'sum_fp32' must specify batch-size 1 due to requirements of "
        "sequence batcher",
    )
    assert calls.refusal(start("sum_fp32", rows[9], id="r")) == (
        "batch_too_large",
        "[request id: r] inference request batch-size must be <= 8 for 'sum_fp32'",
    )


# What a sequence sets once.


def test_what_a_sequence_sets_once_holds_until_its_next_start():
    calls = Calls(tiny.scaled())
    x, three, five = {"x": one(2)}, {"factor": one(3)}, {"factor": one(5)}
    first = calls.send(start("scaled", x | three))
    again = calls.send(goes_on("scaled", x | three))
    without = calls.send(goes_on("scaled", x))
    calls.engine.run_all()
    assert [arrays(told[0])["y"].item() for told in (first, again, without)] == [6, 12, 18]
    assert calls.refusal(goes_on("scaled", x | five, id="r")) == (
        "set_once",
        "[request id: r] input 'factor' is set by the first request of a sequence; send the same "
        "again, or leave it out",
    )
    assert calls.refusal(start("scaled", x)) == (
        "missing_input",
        "[request id: <id_unknown>] expected 2 inputs but got 1 inputs for model 'scaled'. Got "
        "input(s) ['x'], but missing required input(s) ['factor']. Please provide all required "
        "input(s).",
    )
    assert arrays(calls.ask(goes_on("scaled", x)))["y"].item() == 24
    assert arrays(calls.ask(start("scaled", x | five)))["y"].item() == 10
    assert calls.engine.audit() == []


def labelled() -> tiny.TinyModel:
    """The sum, and a text that a session sets once."""
    graph = tiny.graph_of(
        {"x": ("FP32", ["N", 1]), "h": ("FP32", ["N", 1]), "label": ("BYTES", ["N", 1])},
        {"y": ("FP32", ["N", 1]), "hn": ("FP32", ["N", 1]), "was": ("BYTES", ["N", 1])},
        [
            helper.make_node("Add", ["h", "x"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
            helper.make_node("Identity", ["label"], ["was"]),
        ],
    )
    config = f"""
        backend: "onnxruntime"
        max_batch_size: 8
        parameters {{ key: "once.label" value {{ string_value: "true" }} }}
        {tiny.entries(input={"x": "FP32", "label": "BYTES"}, output={"y": "FP32", "was": "BYTES"})}
        sequence_batching {{
          state [ {{ input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 1 ] }} ]
        }}
    """
    return tiny.TinyModel("labelled", config, graph)


def test_a_text_may_be_set_once_too():
    calls = Calls(labelled())
    x, mine, other = {"x": one(1)}, words("mine"), words("other")
    asked = start("labelled", x)
    add(asked, "label", mine)
    assert arrays(calls.ask(asked))["was"].tolist() == [["mine"]]
    for label, refused in ((mine, False), (other, True)):
        asked = goes_on("labelled", x)
        add(asked, "label", label)
        outcome = calls.ask(asked)
        assert isinstance(outcome, Refusal) is refused
    reply = arrays(calls.ask(goes_on("labelled", x)))
    assert (reply["y"].item(), reply["was"].item()) == (3, "mine")


# Rows that fail.


@given(st.lists(st.sampled_from([1, 2, tiny.FIRST_FAILING, -1000]), min_size=2, max_size=8))
def test_of_a_batch_only_the_rows_fail_that_the_graph_fails_on(values):
    calls = Calls(tiny.fragile())
    for number in range(len(values)):
        calls.ask(start("fragile", {"x": one(5, "INT64")}, number + 1))
    told = [
        calls.send(goes_on("fragile", {"x": one(value, "INT64")}, number))
        for number, value in enumerate(values, 1)
    ]
    calls.engine.run_all()
    for number, (value, (outcome,)) in enumerate(zip(values, told, strict=True), 1):
        is_good = 0 <= value < tiny.FIRST_FAILING
        if is_good:
            assert arrays(outcome)["y"].item() == 5 + value
        else:
            assert str(outcome.reason) == "model_failed"
            assert "Gather" not in outcome.message
        after = arrays(calls.ask(goes_on("fragile", {"x": one(1, "INT64")}, number)))
        assert after["y"].item() == 5 + (value if is_good else 0) + 1
    assert calls.engine.audit() == []
