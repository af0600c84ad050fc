import json

import pytest

from rnnserve.commands.costs import duration


def test_the_table_shows_what_a_session_takes_gives_and_keeps(ask):
    ran = ask("models")
    (line,) = [line for line in ran.out.splitlines() if "letters" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["letters", "1", "x int64[]", "logits float32[5]", "16", "yes"]
    (line,) = [line for line in ran.out.splitlines() if "mute" in line]
    assert line.strip("│").split("│")[-1].strip() == "no"


def test_a_broken_model_comes_with_its_problem_as_it_is(ask):
    assert "bad version 1: no [graph] in it" in ask("models").out


def test_json_is_for_programs(ask):
    found = json.loads(ask("models", "--json").out)
    assert [model["name"] for model in found["ready"]] == ["count", "pair", "letters", "mute"]
    assert found["ready"][1]["inputs"][1] == {"name": "y", "dtype": "float32", "shape": [2]}
    assert found["broken"] == [{"name": "bad", "version": 1, "problem": "no [graph] in it"}]


def test_costs_stand_by_rows_and_steps_each_with_its_share(ask):
    shown = ask("models", "--costs").out.partition("pair version")[0]
    lines = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["1", "100 µs", "400 µs"],
        ["", "100 µs each", "50 µs each"],
        ["4", "200 µs", "~3.2 ms*"],
        ["", "50 µs each", "100 µs each"],
    ]
    assert shown.startswith("count version 3\n")


def test_what_follows_from_the_costs_is_said(ask):
    shown = " ".join(ask("models", "--costs").out.split())
    assert "~ was not run" in shown
    assert "* leaves the loop" in shown
    assert "At most 4 rows run together" in shown
    assert "at most 8 steps alone and 2 in a batch of 4 rows, to take no longer than 10 ms" in shown
    assert "more than 2 ms leaves the server's loop" in shown


def test_a_model_whose_costs_nobody_measured_says_so_and_broken_ones_still_come(ask):
    shown = ask("models", "--costs").out
    assert "pair version 1: the server did not measure what it costs\n" in shown
    assert "bad version 1: no [graph] in it" in shown


def test_costs_are_in_the_json_where_asked_for(ask):
    ready = json.loads(ask("models", "--costs", "--json").out)["ready"]
    assert ready[0]["costs"]["max_rows"] == 4
    assert ready[0]["costs"]["runs"][3] == {
        "rows": 4,
        "steps": 8,
        "run_us": 3200,
        "step_us": 100,
        "measured": False,
    }
    assert ready[1]["costs"] is None
    assert "costs" not in json.loads(ask("models", "--json").out)["ready"][0]


@pytest.mark.parametrize(
    ("us", "shown"),
    [
        (0.25, "0.25 µs"),
        (999.4, "999 µs"),
        (999.6, "1 ms"),
        (12345, "12.3 ms"),
        (999_600, "1 s"),
        (5e9, "5,000 s"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(us, shown):
    assert duration(us) == shown
