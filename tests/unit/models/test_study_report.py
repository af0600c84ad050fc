"""Every sentence of the report follows from the numbers, whichever way they came out."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_models.study.figures import FIGURES, draw
from rnnserve_models.study.findings import title
from rnnserve_models.study.fit import CHARACTERS, Ended
from rnnserve_models.study.folder import StudyFolder
from rnnserve_models.study.report import (
    choice,
    cost,
    expected,
    flow,
    images,
    language,
    memory,
    published,
)
from rnnserve_models.study.report.markdown import listed, number
from rnnserve_models.study.report.page import page
from rnnserve_models.study.reporting import write_report
from unit.models import study_made_up as made_up
from unit.models.study_made_up import MEMORY_NAMES, NAMES, a_cost, a_result, findings

LENGTHS = (50, 100, 200)
reaches = st.fixed_dictionaries({name: st.sampled_from((0, *LENGTHS)) for name in MEMORY_NAMES})
ranks = st.permutations(NAMES)


def of_reaches(task: str, found: dict[str, int], bad: float = 0.16):
    losses = {
        name: {T: 1e-3 if reach >= T else bad for T in LENGTHS} for name, reach in found.items()
    }
    return made_up.memory(task, losses)


def said_reach(sentence: str, name: str) -> int:
    """Up to where the sentence says that a variant solved the task."""
    for part in re.split(r", (?=up to|at no)|(?<= )and (?=up to|at no)", sentence.split(";")[0]):
        where = re.search(r"up to T = (\d+) by |at no length by ", part)
        if where and title(name) in re.split(
            r", (?!forget)| and ", part[where.end() :].rstrip(". ")
        ):
            return int(where.group(1) or 0)
    raise AssertionError(f"{title(name)} is not in {sentence!r}")


@given(found=reaches, task=st.sampled_from(("adding", "copy")))
@settings(max_examples=60, deadline=None)
def test_everybody_solved_it_just_as_far_as_is_said(found, task):
    (sentence,) = memory.sentences(findings(of_reaches(task, found, bad=0.09)))
    assert {name: said_reach(sentence, name) for name in found} == found
    left = sentence.partition("it left ")[2]
    for name, reach in found.items():
        named = re.search(rf"\b{title(name)} at 0.09", left)
        assert bool(named) == (reach < LENGTHS[-1])


def test_a_gap_in_between_ends_the_reach():
    results = made_up.memory("adding", {"gru": {50: 0.001, 100: 0.1, 200: 0.001}})
    assert findings(results).reach("adding", "gru") == 50


@pytest.mark.parametrize(("losses", "solved"), [((0.001, 0.001, 0.1), True), ((0.001, 0.1), False)])
def test_most_seeds_decide_whether_it_is_solved(losses, solved):
    results = [a_result(seed=seed, loss=loss) for seed, loss in enumerate(losses)]
    assert findings(results).solved("adding", 50, "gru") is solved


@given(exponents=st.lists(st.integers(-30, 30), min_size=5, max_size=5, unique=True))
@settings(max_examples=60, deadline=None)
def test_a_norm_vanished_held_or_exploded_as_its_factor_says(exponents):
    # 10^0.5 off the lines between the kinds, which are at 10^-1 and 10^1.
    ratios = {
        name: 10.0 ** (exponent + 0.5)
        for name, exponent in zip(flow.FOR_GRADIENTS, exponents, strict=True)
    }
    sentence = flow.sentences(findings(made_up.flows(ratios)))[0]
    before = sentence.split("before training ")[1].split(";")[0]
    kinds = dict(
        re.findall(r"(vanished|held|exploded) in (.*?)(?=, held in|, exploded in|$)", before)
    )
    for name, ratio in ratios.items():
        kind = "vanished" if ratio < 0.1 else "exploded" if ratio > 10 else "held"
        assert f"{title(name)} ({number(ratio)})" in kinds[kind]


def test_what_clipping_changed_is_told_with_both_losses():
    results = [
        a_result("adding", 100, "rnn", loss=0.012),
        a_result("adding", 100, "rnn-unclipped", loss=0.17),
    ]
    (sentence,) = flow.sentences(findings(results))
    assert "RNN (norms of up to 2 without it) ended at 0.012 with it and 0.17 without" in sentence
    assert "LSTM" not in sentence


def test_costs_name_the_least_and_the_most():
    costs = [a_cost("rnn", 20.0, 112), a_cost("attention", 130.0, 131_080)]
    first, second = cost.sentences(findings([], costs))
    assert "from 20 (RNN) to 130 us (attention) in a batch of 1" in first
    assert "from 112 (RNN) to 131,080 bytes (attention)" in first
    assert "the same (within 25 %) in RNN and attention" in second


@given(late=st.floats(0.8, 50).filter(lambda ratio: abs(ratio - cost.SAME) > 0.01))
def test_attention_is_called_flat_only_where_it_is(late):
    found = findings([], [a_cost("rnn"), a_cost("attention", late=late)])
    second, remark = cost.sentences(found)[1], cost.why_attention_is_flat(found)
    if late < cost.SAME:
        assert "in RNN and attention" in second
        assert "fixed shape" in remark
    else:
        assert f"more in attention ({number(late)} times)" in second
        assert remark == ""


@given(order=ranks)
@settings(deadline=None)
def test_the_best_predictor_of_text_is_the_one_with_the_fewest_bits(order):
    found = findings(made_up.language({name: 2 + 0.2 * n for n, name in enumerate(order)}))
    (sentence,) = language.sentences(found)
    assert f"{title(order[0])} predicts best with 2.005 bits" in sentence
    assert f"{title(order[-1])} worst with 3.005" in sentence
    assert "overlap" not in sentence


def test_seeds_that_overlap_are_no_lead():
    found = findings(made_up.language({"gru": 2.0, "lstm": 2.05, "rnn": 2.5}, apart=0.1))
    (sentence,) = language.sentences(found)
    assert "whose seeds overlap with those of LSTM," in sentence


@given(order=ranks)
@settings(deadline=None)
def test_whoever_is_chosen_has_the_best_number(order):
    costs = [a_cost(name, 10.0 * 2**place) for place, name in enumerate(order)]
    results = made_up.language({name: 2 + 0.2 * n for n, name in enumerate(reversed(order))})
    found = {need.short: need for need in choice.needs(findings(results, costs))}
    assert found["us a token, batch 1"].chosen() == [order[0]]
    assert found["bits per character"].chosen() == [order[-1]]
    assert found["us a token, batch 1"].row()[1] == title(order[0])
    numbers = found["us a token, batch 1"].row()[2]
    assert [named.split(" ")[0] for named in numbers.split(", ")] == [title(n) for n in order]
    assert set(found["reach, steps"].chosen()) == {"rnn", "lstm", "gru", "mingru"}


def test_nobody_is_chosen_where_nobody_managed():
    found = findings(of_reaches("copy", dict.fromkeys(MEMORY_NAMES, 0)))
    (sentence,) = choice.sentences(found)
    assert "Nobody managed to repeat exactly what came long ago" in sentence
    assert ("none") in choice.table(found).rows[0][1]


def test_figures_within_three_percent_are_as_good():
    costs = [a_cost("rnn", 100.0), a_cost("lstm", 102.9), a_cost("gru", 103.1)]
    (need,) = [n for n in choice.needs(findings([], costs)) if n.short == "us a token, batch 1"]
    assert need.chosen() == ["rnn", "lstm"]


@pytest.mark.parametrize(
    ("gru", "rnn", "verdict"),
    [
        (0.001, 0.16, "it came so"),
        (0.001, 0.05, "this run contradicts it"),
        (0.1, 0.16, "this run contradicts it"),
    ],
)
def test_what_was_expected_of_adding_is_judged_by_the_losses(gru, rnn, verdict):
    losses = {"rnn": {200: rnn}, "lstm": {200: 0.15}, "gru": {200: gru}}
    (sentence,) = expected.sentences(findings(made_up.memory("adding", losses)))
    assert f"**{verdict}**" in sentence
    assert f"GRU {number(gru * 1.01)}" in sentence


@pytest.mark.parametrize(
    ("tcn", "lstm", "verdict"),
    [(1e-4, 0.09, "it came so"), (1e-4, 1e-4, "contradicts"), (0.09, 0.09, "contradicts")],
)
def test_what_was_expected_of_copying_is_judged_by_the_losses(tcn, lstm, verdict):
    losses = {"tcn": {200: tcn}, "attention": {200: 0.09}, "lstm": {200: lstm}}
    (sentence,) = expected.sentences(findings(made_up.memory("copy", losses)))
    assert verdict in sentence


def row_of(task: str) -> published.Row:
    return next(row for row in published.ROWS if row.task == task)


def test_the_published_pattern_agrees_with_itself():
    found = findings(
        [
            *of_reaches("adding", {"rnn": 50, "lstm": 100, "gru": 200, "tcn": 200}),
            *of_reaches("copy", {"rnn": 0, "lstm": 0, "gru": 100, "tcn": 200}, bad=0.09),
            *made_up.images("digits", row_of("digits").theirs),
            *made_up.images("permuted", row_of("permuted").theirs),
            *made_up.language(row_of(CHARACTERS).theirs, seeds=1),
        ]
    )
    assert [cells[-1] for cells in published.table(found).rows] == ["agrees"] * 5


def test_where_ours_differs_is_named():
    found = findings(
        [
            *of_reaches("adding", {"rnn": 50, "lstm": 200, "gru": 200, "tcn": 100}),
            *made_up.images("digits", {"lstm": 0.95, "gru": 0.9, "rnn": 0.2, "tcn": 0.99}),
        ]
    )
    assert published.differences(found, row_of("adding")) == [
        "LSTM solves it here",
        "TCN does not solve it here",
    ]
    assert published.differences(found, row_of("digits")) == ["LSTM comes before GRU here"]


def test_the_forget_bias_is_named_only_where_it_decided():
    decided = findings(of_reaches("adding", {"lstm": 100, "lstm-b0": 50}))
    assert (
        "decided whether our LSTM solves adding at T = 100 (loss" in published.reasons(decided)[0]
    )
    same = findings(of_reaches("adding", {"lstm": 100, "lstm-b0": 100}))
    assert "changed at no length" in published.reasons(same)[0]
    unknown = findings(of_reaches("adding", {"lstm": 100}))
    assert not any("forget bias" in reason for reason in published.reasons(unknown))


def test_digits_are_ranked_and_the_permutation_s_cost_is_told():
    results = made_up.images("digits", {"rnn": 0.5, "tcn": 0.9})
    results += made_up.images("permuted", {"rnn": 0.6, "tcn": 0.85})
    first, second = images.sentences(findings(results))
    assert "best by TCN (90.0 %) and worst by RNN (50.0 %)" in first
    assert "+10.0 points (RNN) and -5.0 points (TCN)" in second


def test_nothing_is_said_of_what_was_not_run():
    text = page(findings([]), {})
    for heading in ("## 1", "## 2", "## 3", "## 4", "## Language", "## Beside", "## What was"):
        assert heading not in text
    only = page(findings(of_reaches("adding", {"gru": 200})), {})
    assert "Copy memory" not in only
    assert "TCN is" not in only


def test_every_question_has_a_figure_two_sentences_and_tables():
    found = made_up.everything()
    text = page(found, {name: f"{name}.png" for name in FIGURES})
    for question in "1234":
        assert f"\n## {question}. " in text
    for name in FIGURES:
        assert f"({name}.png)" in text
    for module in (memory, flow, cost):
        assert len(module.sentences(found)) == 2
    assert "nan" not in text
    assert "None" not in text


def test_a_language_model_that_diverged_has_no_bits():
    results = made_up.language({"gru": 2.0, "rnn": 2.5}, seeds=1)
    lost = a_result(CHARACTERS, 64, "lstm", loss=math.inf, ended=Ended.DIVERGED)
    text = page(findings([*results, lost]), {})
    assert "GRU predicts best with 2.000" in text
    assert "| LSTM | 1,000 | diverged |" in text
    assert "1 diverged (characters-64-lstm-seed0)" in text
    assert not re.search(r"\binf\b", text)


def test_a_report_comes_with_figures_and_every_number(tmp_path):
    found, folder = made_up.everything(), StudyFolder(tmp_path)
    with folder.held():
        for result in found.results:
            folder.save_result(result)
        folder.save_serving(list(found.serving))
        write_report(folder, found.plan)
    for name in FIGURES:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(rows) == len(found.results)
    assert {float(row["loss"]) for row in rows} == {result.loss for result in found.results}
    assert len((tmp_path / "gradients.csv").read_text().splitlines()) == 1 + 5 * 2 * 99


def test_no_figure_is_drawn_of_nothing():
    assert draw(findings([])) == {}


@given(st.lists(st.text("abc", min_size=1), max_size=5))
def test_lists_name_everybody_once_in_order(names):
    text = listed(names)
    if names:
        assert re.split(r", | and ", text) == names
    else:
        assert text == "none"


@given(st.floats(1e-9, 1e7))
def test_a_number_is_off_by_less_than_a_percent(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.051)
    if 1e-3 <= value < 100:
        assert float(number(value)) == pytest.approx(value, rel=0.0051)
