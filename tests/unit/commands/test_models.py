import json


def test_the_table_shows_what_a_session_takes_gives_and_keeps(ask):
    ran = ask("models")
    (line,) = [line for line in ran.out.splitlines() if "letters" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["letters", "1", "x int64[]", "logits float32[5]", "8", "yes"]
    (line,) = [line for line in ran.out.splitlines() if "mute" in line]
    assert line.strip("│").split("│")[-1].strip() == "no"


def test_a_broken_model_comes_with_its_problem_as_it_is(ask):
    assert "bad version 1: no [graph] in it" in ask("models").out


def test_json_is_for_programs(ask):
    found = json.loads(ask("models", "--json").out)
    assert [model["name"] for model in found["ready"]] == ["count", "pair", "letters", "mute"]
    assert found["ready"][1]["inputs"][1] == {"name": "y", "dtype": "float32", "shape": [2]}
    assert found["broken"] == [{"name": "bad", "version": 1, "problem": "no [graph] in it"}]
