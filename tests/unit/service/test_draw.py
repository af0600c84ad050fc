"""Tokens are drawn as the distribution says, and no row knows of the others."""

import timeit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve.engine.draw import CANDIDATES, Draws, draw
from rnnserve.engine.sampling import Sampling

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))


def drawn(logits: np.ndarray, **sampling) -> int | None:
    """One token of one row (V,)."""
    return draw([Draws(Sampling(**{"seed": 0} | sampling), len(logits))], logits[np.newaxis])[0][0]


def shares(**sampling) -> np.ndarray:
    """Of 100 tokens of each of 200 generations."""
    rows = [Draws(Sampling(seed=seed, **sampling), len(LOGITS)) for seed in range(200)]
    logits = np.tile(LOGITS, (200, 1))
    tokens = [token for _ in range(100) for token in draw(rows, logits)[0]]
    return np.bincount(tokens, minlength=len(LOGITS)) / 20_000


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, np.array([0.25, 0.0625, 0.0225, 0.01]) / 0.345),
        ({"temperature": 1e300}, [0.25, 0.25, 0.25, 0.25]),
        ({"temperature": 1e-300}, [1, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.6}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 1e-6}, [1, 0, 0, 0]),
        ({"top_k": 100}, [0.5, 0.25, 0.15, 0.1]),
        # p is a share of what top_k left: 0.5 + 0.25 of 0.9 is more than 0.8 of it.
        ({"top_k": 3, "top_p": 0.8}, [2 / 3, 1 / 3, 0, 0]),
    ],
)
def test_tokens_come_as_often_as_their_probability_says(sampling, wanted):
    # 20,000 draws: a share is off by more than 0.016 less than once in 100,000 seeds.
    np.testing.assert_allclose(shares(**sampling), wanted, atol=0.016)


# ---- what may come -----------------------------------------------------------

# onnxruntime's set_denormal_as_zero holds for the whole thread, in tests too.
scores = st.floats(-1e4, 1e4, width=32, allow_subnormal=False) | st.sampled_from(
    [0.0, -0.0, 1.0, -np.inf]
)
samplings = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**64 - 1),
        "temperature": st.sampled_from([0.0, 1.0])
        | st.floats(0, 100, allow_subnormal=False)
        | st.floats(0, allow_infinity=False, allow_subnormal=False),
        "top_k": st.integers(0, 60),
        "top_p": st.just(1.0) | st.floats(1e-6, 1),
        "repetition_penalty": st.just(1.0)
        | st.floats(1e-30, allow_infinity=False, allow_subnormal=False),
        "logprobs": st.booleans(),
    }
)


def allowed(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> set[int]:
    """Plainly: rank by score and then by number, keep k, keep the fewest that reach p."""
    ranking = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if temperature == 0.0:
        return {ranking[0]}
    ranking = ranking[: top_k or len(ranking)]
    exponents = (logits[ranking].astype(np.float64) - logits.max()) / temperature
    weights = np.exp(exponents)
    before = np.concatenate([[0.0], weights.cumsum()[:-1]]) / weights.sum()
    # A hair's breadth for rounding: float32 has an error of 1e-7 in a weight.
    return {token for token, share in zip(ranking, before, strict=True) if share < top_p + 1e-5}


@given(logits=st.lists(scores, min_size=1, max_size=50), sampling=samplings)
def test_whatever_the_logits_a_token_that_may_come_is_drawn(logits, sampling):
    array = np.array(logits, np.float32)
    plain = sampling | {"repetition_penalty": 1.0}
    token = drawn(array, **plain)
    if not np.isfinite(array.max()):
        assert token is None
        return
    temperature = min(max(sampling["temperature"], 1e-30), 1e30) if sampling["temperature"] else 0.0
    with np.errstate(over="ignore"):
        assert token in allowed(array, temperature, sampling["top_k"], sampling["top_p"])
    assert np.isfinite(array[token])
    assert isinstance(token, int)


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-9}])
def test_of_equally_likely_tokens_the_lowest_goes_first(sampling):
    logits = np.array([-1.0, 2.0, 0.0, 2.0, 2.0], np.float32)
    assert {drawn(logits, seed=seed, **sampling) for seed in range(20)} == {1}
    signed = np.array([-1.0, -0.0, 0.0], np.float32)
    assert {drawn(signed, seed=seed, **sampling) for seed in range(20)} == {1}


def test_top_k_keeps_k_tokens_even_where_all_are_equally_likely():
    for vocabulary in (10, 5_000):
        flat = np.zeros(vocabulary, np.float32)
        assert {drawn(flat, seed=seed, top_k=3) for seed in range(200)} == {0, 1, 2}


@pytest.mark.parametrize("top_p", [0.3, 0.95, 0.9999999999999999])
def test_a_flat_distribution_needs_more_candidates_and_gets_them(top_p):
    vocabulary = 40 * CANDIDATES
    rows = [Draws(Sampling(seed=seed, top_p=top_p), vocabulary) for seed in range(300)]
    tokens, _ = draw(rows, np.zeros((300, vocabulary), np.float32))
    # 300 even numbers below p: the largest is below 0.95 p once in five million.
    assert 0.95 * top_p * vocabulary < max(tokens) <= top_p * vocabulary


@pytest.mark.parametrize("top_k", [CANDIDATES - 1, CANDIDATES, CANDIDATES + 1, 9 * CANDIDATES])
def test_the_first_k_are_those_that_a_full_sort_gives(top_k):
    logits = np.random.default_rng(top_k).normal(size=20 * CANDIDATES).astype(np.float32)
    first = set(np.argsort(-logits, kind="stable")[:top_k].tolist())
    rows = [
        Draws(Sampling(seed=seed, top_k=top_k, temperature=100.0), len(logits))
        for seed in range(500)
    ]
    tokens, _ = draw(rows, np.tile(logits, (500, 1)))
    assert set(tokens) <= first
    assert len(set(tokens)) > 250


# ---- company -----------------------------------------------------------------


def walk(rows: list[Draws], logits: np.ndarray, steps: int = 3) -> list[tuple]:
    """Tokens and log-probabilities of some steps, by row."""
    return list(zip(*(zip(*draw(rows, step), strict=True) for step in logits[:steps]), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(samplings, min_size=1, max_size=12),
    vocabulary=st.sampled_from([1, 5, 33, 96, 1_500, 30_000]),
    seed=st.integers(0, 999),
    spread=st.sampled_from([0.0, 1.0, 5.0]),
    data=st.data(),
)
def test_a_row_draws_the_same_alone_and_in_any_company_and_order(
    kinds, vocabulary, seed, spread, data
):
    generator = np.random.default_rng(seed)
    logits = (generator.normal(size=(3, len(kinds), vocabulary)) * spread).astype(np.float32)
    prompt = generator.integers(0, vocabulary, 5)

    def begin(kind: dict) -> Draws:
        row = Draws(Sampling(**kind), vocabulary)
        row.see(prompt)
        return row

    alone = [walk([begin(kind)], logits[:, n : n + 1])[0] for n, kind in enumerate(kinds)]
    order = data.draw(st.permutations(range(len(kinds))))
    together = walk([begin(kinds[n]) for n in order], logits[:, order])
    assert together == [alone[n] for n in order]


@given(
    kinds=st.lists(samplings, min_size=2, max_size=8),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    data=st.data(),
)
def test_a_row_that_isnt_numbers_gets_no_token_and_harms_nobody(kinds, bad, data):
    logits = np.random.default_rng(0).normal(size=(len(kinds), 20)).astype(np.float32)
    at = data.draw(st.integers(0, len(kinds) - 1))
    whole = draw([Draws(Sampling(**kind), 20) for kind in kinds], logits)
    # One NaN or infinity above spoils a row; infinities below only where there is nothing else.
    logits[at, 7 if bad != -np.inf else slice(None)] = bad
    tokens, logprobs = draw([Draws(Sampling(**kind), 20) for kind in kinds], logits)
    assert (tokens[at], logprobs[at]) == (None, None)
    for n in range(len(kinds)):
        assert n == at or (tokens[n], logprobs[n]) == (whole[0][n], whole[1][n])


def test_the_same_seed_draws_the_same_tokens_and_another_seed_others():
    def tokens(seed: int) -> list[int | None]:
        rows = [Draws(Sampling(seed=seed), 4)]
        return [draw(rows, LOGITS[np.newaxis])[0][0] for _ in range(200)]

    assert tokens(1) == tokens(1) != tokens(2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_are_views_of_another_type_are_drawn_like_any_other(dtype):
    steps = np.random.default_rng(3).normal(size=(6, 4, 50)).astype(dtype)  # (B, T, V)
    before = steps.copy()
    for kind in ({}, {"top_p": 0.8}, {"temperature": 0.0}, {"repetition_penalty": 2.0}):
        rows = [[Draws(Sampling(seed=n, **kind), 50) for n in range(6)] for _ in range(2)]
        for some in rows:
            for row in some:
                row.see(np.arange(25))
        plain = draw(rows[0], steps[:, -1].astype(np.float32).copy())
        assert draw(rows[1], steps[:, -1]) == plain
    np.testing.assert_array_equal(steps, before)


# ---- repetition and log-probabilities --------------------------------------------


def test_scores_of_seen_tokens_are_divided_where_positive_and_multiplied_where_negative():
    logits = np.array([3.0, 2.0, -1.0, -1.5], np.float32)
    penalised = np.array([1.5, 2.0, -2.0, -1.5], np.float32)
    tokens = []
    for seed in range(5_000):
        row = Draws(Sampling(seed=seed, repetition_penalty=2.0), 4)
        row.see(np.array([0, 2, 2]))
        tokens += draw([row], logits[np.newaxis])[0]
    wanted = np.exp(penalised) / np.exp(penalised).sum()
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 5_000, wanted, atol=0.032)


@pytest.mark.parametrize(("penalty", "tokens"), [(1e300, [0, 1, 2, 3]), (1.0, [0, 0, 0, 0])])
def test_a_token_that_was_drawn_has_been_seen(penalty, tokens):
    rows = [Draws(Sampling(seed=0, temperature=0.0, repetition_penalty=penalty), 4)]
    logits = np.array([[4.0, 3.0, 2.0, 1.0]], np.float32)
    assert [draw(rows, logits)[0][0] for _ in range(4)] == tokens


@given(
    logits=st.lists(scores, min_size=2, max_size=30).filter(lambda some: max(some) > -np.inf),
    sampling=samplings,
)
def test_the_logprob_is_the_models_own_whatever_the_sampling(logits, sampling):
    array = np.array(logits, np.float32)
    row = Draws(Sampling(**sampling | {"logprobs": True}), len(array))
    row.see(np.array([0, 1]))
    (token,), (logprob,) = draw([row], array[np.newaxis])
    shifted = array.astype(np.float64) - array.max()
    wanted = shifted[token] - np.log(np.exp(shifted).sum())
    assert logprob == pytest.approx(wanted, abs=1e-5, rel=1e-6)
    assert isinstance(logprob, float)


def test_logprobs_come_only_where_they_were_asked_for():
    rows = [Draws(Sampling(seed=0, logprobs=n % 2 == 0), 4) for n in range(5)]
    _, logprobs = draw(rows, np.tile(LOGITS, (5, 1)))
    assert [logprob is not None for logprob in logprobs] == [True, False, True, False, True]


# ---- cost ------------------------------------------------------------------------


def test_a_batch_of_64_costs_microseconds_a_row():
    logits = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    rows = [Draws(Sampling(seed=seed), 96) for seed in range(64)]
    each_s = min(timeit.repeat(lambda: draw(rows, logits), number=50, repeat=10)) / 50
    assert each_s < 1e-3  # 0.05 ms on a quiet machine


def test_memory_of_what_was_seen_is_kept_only_where_it_is_used():
    assert Draws(Sampling(seed=0), 50_000).seen is None
