"""The plan: one budget for everybody, within the time; what doesn't agree with it is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve_models.study.errors import StudyError
from rnnserve_models.study.fit import Fit, Recipe
from rnnserve_models.study.folder import StudyFolder
from rnnserve_models.study.options import StudyOptions
from rnnserve_models.study.plan import LEAST_STEPS, Plan, Speed, budgeted
from rnnserve_models.study.planning import agree, corpus_mark
from unit.models.study_made_up import a_plan, a_result

# Where denormals are flushed, hypothesis draws no floats from zero on.
speeds = st.builds(
    Speed, step_s=st.floats(1e-4, 2.0), rest_s=st.integers(0, 3000).map(lambda n: n / 100)
)


def fits_of(count: int) -> tuple[Fit, ...]:
    return tuple(
        Fit(
            task="copy" if place % 2 else "adding",
            length=10 * (1 + place % 3),
            variant="gru",
            seed=place,
            hidden=4,
            layers=1,
            own_options={},
            steps=1_000 if place % 2 else 600,
        )
        for place in range(count)
    )


@given(found=st.lists(speeds, min_size=1, max_size=20), at_most_s=st.floats(1, 1e6))
def test_a_plan_keeps_to_its_time_and_treats_all_alike(found, at_most_s):
    fits = fits_of(len(found))
    by_name = {fit.name: speed for fit, speed in zip(fits, found, strict=True)}
    planned, expected_s, scale = budgeted(fits, by_name, at_most_s)
    assert {fit.name for fit in planned} == {fit.name for fit in fits}
    assert 0 <= scale <= 1
    for task in ("adding", "copy"):
        assert len({fit.steps for fit in planned if fit.task == task}) <= 1
    fixed_s = sum(speed.rest_s for speed in found)
    least_s = sum(LEAST_STEPS * speed.step_s for speed in found)
    assert sum(expected_s.values()) <= (max(at_most_s, fixed_s) + least_s) * 1.001
    if scale == 1:
        assert {fit.steps for fit in planned} <= {600, 1_000}


def test_where_there_is_time_nothing_shrinks():
    fits = fits_of(4)
    planned, _, scale = budgeted(fits, {fit.name: Speed(0.001, 0.1) for fit in fits}, 1e6)
    assert scale == 1
    assert sorted(planned, key=Fit.as_key) == sorted(fits, key=Fit.as_key)


def test_one_seed_of_everything_comes_before_the_next_and_the_longest_first():
    fits = tuple(replace(fit, seed=seed) for seed in (0, 1) for fit in fits_of(3))
    fits = tuple(replace(fit, length=place) for place, fit in enumerate(fits))
    by_name = {fit.name: Speed(0.01 * (1 + fit.length % 3), 0) for fit in fits}
    planned, expected_s, _ = budgeted(fits, by_name, 1e6)
    order = [(fit.seed, -expected_s[fit.name]) for fit in planned]
    assert order == sorted(order)


def test_a_plan_survives_json():
    plan = replace(a_plan([a_result()]), corpus=("mine.txt", "abc"), recipe=Recipe(batch=3))
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


@pytest.mark.parametrize(
    ("other", "flag"),
    [
        (StudyOptions(quick=True), "--quick"),
        (StudyOptions(seeds=9), "--seeds"),
        (StudyOptions(corpus="another"), "--corpus"),
    ],
)
def test_another_study_is_not_begun_in_the_same_folder(tmp_path, other, flag):
    text = tmp_path / "mine.txt"
    text.write_text("some text\n")
    if other.corpus:
        other = replace(other, corpus=text)
    plan = replace(a_plan([]), quick=False, seeds=3)
    with pytest.raises(StudyError, match=f"begun with another {flag}"):
        agree(plan, other, tmp_path)
    agree(plan, StudyOptions(workers=1, minutes=3.0), tmp_path)


def test_the_same_file_with_another_text_is_another_study(tmp_path):
    text = tmp_path / "mine.txt"
    text.write_text("some text\n")
    plan = replace(a_plan([]), corpus=corpus_mark(text), quick=False, seeds=3)
    agree(plan, StudyOptions(corpus=text), tmp_path)
    text.write_text("another text\n")
    with pytest.raises(StudyError, match="--corpus"):
        agree(plan, StudyOptions(corpus=text), tmp_path)


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path):
    one, other = StudyFolder(tmp_path / "study"), StudyFolder(tmp_path / "study")
    busy = pytest.raises(StudyError, match="another process works")
    with one.held(), busy, other.held():
        pass
    with other.held():
        pass


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    refused = pytest.raises(StudyError, match=r"other files \(thesis\.tex\)")
    with refused, StudyFolder(tmp_path).held():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_was_saved_is_what_comes_back(tmp_path):
    folder, results = StudyFolder(tmp_path), [a_result(seed=seed) for seed in range(3)]
    with folder.held():
        plan = a_plan(results)
        folder.save_plan(plan)
        assert folder.results(plan) == {}
        for result in results[:2]:
            folder.save_result(result)
        assert folder.plan() == plan
        assert list(folder.results(plan)) == [result.fit.name for result in results[:2]]
    left = {path.name for path in tmp_path.rglob("*.partial")}
    assert left == set()


def test_a_damaged_file_is_named(tmp_path):
    folder, result = StudyFolder(tmp_path), a_result()
    with folder.held():
        folder.save_result(result)
        path = tmp_path / "work" / "fits" / f"{result.fit.name}.json"
        path.write_text(path.read_text()[:40])
        with pytest.raises(StudyError, match=f"{result.fit.name}.json is unreadable: remove it"):
            folder.results(a_plan([result]))
