"""From logits to the next tokens of many generations at once.

The same seed and the same logits draw the same tokens, alone or in any company and order: each
row's numbers come from its own generator, and nothing of a row is added up in an order that depends
on the others.

Tokens are ranked by score, and equal ones by number, the lower first. The rank decides everywhere:
temperature 0 takes the first, top_k the first k, top_p the fewest that reach p.
"""

from collections.abc import Callable, Sequence

import numpy as np

from rnnserve.engine.sampling import Sampling

LEAST_SCALE, MOST_SCALE = 1e-30, 1e30
"""Temperatures and penalties are kept within these: float32 can divide by them."""
UNIFORMS = 64
"""Drawn at once: a call of the generator costs as much as hundreds of numbers."""
CANDIDATES = 512
"""First of the ranking that are looked at for top_k and top_p, and how many times more where that
isn't enough."""
MORE_CANDIDATES = 8
CACHED_SCORES = 1 << 17
"""Scores worked on at once: their arrays fit into the processor's cache."""

NO_TOKEN = -1


class Draws:
    """One generation's randomness and memory. Used by one thread at a time."""

    def __init__(self, sampling: Sampling, vocabulary: int) -> None:
        self.temperature = min(max(sampling.temperature, LEAST_SCALE), MOST_SCALE)
        self.top_k = sampling.top_k if sampling.top_k < vocabulary else 0
        self.top_p = sampling.top_p
        self.penalty = min(max(sampling.repetition_penalty, LEAST_SCALE), MOST_SCALE)
        self.seen = np.zeros(vocabulary, np.bool_) if self.penalty != 1.0 else None  # (V,)
        self.logprobs = sampling.logprobs
        self.pick: Callable[[Sequence[Draws], np.ndarray], np.ndarray]
        if sampling.temperature == 0.0 or self.top_k == 1:
            self.pick = _likeliest
        else:
            self.pick = _of_the_first if self.top_k or self.top_p < 1.0 else _of_all
        self._random = np.random.default_rng(sampling.seed)
        self._uniforms: list[float] = []

    def see(self, tokens: np.ndarray) -> None:
        """Take note of tokens that came before (T,), each of the vocabulary."""
        if self.seen is not None:
            self.seen[tokens] = True

    def uniform(self) -> float:
        """The next of this generation's numbers: from 0, below 1."""
        if not self._uniforms:
            self._uniforms = self._random.random(UNIFORMS).tolist()
            self._uniforms.reverse()
        return self._uniforms.pop()


def draw(rows: Sequence[Draws], logits: np.ndarray) -> tuple[list[int | None], list[float | None]]:
    """The next token of every row, and its log-probability where the row wants it.

    `logits` (B, V), floating point, V the rows' vocabulary; worked on as float32. None for a row
    that has no token to draw: its logits hold NaN or an infinity above, or nothing else but
    infinities below. The log-probability is the model's own, before penalty, temperature, top_k and
    top_p. What was drawn has been seen by the row. Any thread will do.
    """
    at_once = max(1, CACHED_SCORES // logits.shape[1])
    if len(rows) <= at_once:
        return _draw(rows, logits)
    tokens: list[int | None] = []
    logprobs: list[float | None] = []
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        more_tokens, more_logprobs = _draw(rows[part], logits[part])
        tokens += more_tokens
        logprobs += more_logprobs
    return tokens, logprobs


def _draw(rows: Sequence[Draws], logits: np.ndarray) -> tuple[list[int | None], list[float | None]]:
    # A row of NaN spoils itself only, and infinities below are tokens that can't come.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        raw = np.asarray(logits, np.float32, order="C")
        scores = _penalised(rows, raw)
        picks = [row.pick for row in rows]
        ways = set(picks)
        if len(ways) == 1:
            drawn = ways.pop()(rows, scores)
        else:
            drawn = np.empty(len(rows), np.intp)
            for way in ways:
                at = [n for n, pick in enumerate(picks) if pick is way]
                drawn[at] = way([rows[n] for n in at], scores[at])
        logprobs = _logprobs(rows, raw, drawn)
    tokens: list[int | None] = drawn.tolist()
    if NO_TOKEN in tokens:
        tokens = [None if token == NO_TOKEN else token for token in tokens]
    if scores is not raw:
        for row, token in zip(rows, tokens, strict=True):
            if row.seen is not None and token is not None:
                row.seen[token] = True
    return tokens, logprobs


def _penalised(rows: Sequence[Draws], scores: np.ndarray) -> np.ndarray:
    """The scores (B, V) with those of seen tokens lowered (Keskar et al. 2019)."""
    marked = [n for n, row in enumerate(rows) if row.seen is not None]
    if not marked:
        return scores
    which, tokens = np.nonzero([rows[n].seen for n in marked])  # (N,) each
    at = np.array(marked)[which]
    penalty = np.array([rows[n].penalty for n in marked], np.float32)[which]
    found = scores[at, tokens]
    # A penalty makes no infinities: a score that is one was the model's.
    most = np.finfo(np.float32).max
    lowered = np.clip(np.where(found > 0, found / penalty, found * penalty), -most, most)
    scores = scores.copy()
    scores[at, tokens] = np.where(np.isfinite(found), lowered, found)
    return scores


def _likeliest(rows: Sequence[Draws], scores: np.ndarray) -> np.ndarray:
    """The first of each row's ranking (B,)."""
    tokens: np.ndarray = scores.argmax(axis=1)
    tokens[~np.isfinite(scores[np.arange(len(rows)), tokens])] = NO_TOKEN
    return tokens


def _of_all(rows: Sequence[Draws], scores: np.ndarray) -> np.ndarray:
    """One token of each row (B,), by its probability."""
    peaks = scores.max(axis=1, keepdims=True)  # (B, 1)
    cumulative = _weights(scores, peaks, _temperatures(rows)).cumsum(axis=1, dtype=np.float64)
    tokens = _first_beyond(cumulative, cumulative[:, -1], rows)
    tokens[~np.isfinite(peaks[:, 0])] = NO_TOKEN
    return tokens


def _of_the_first(rows: Sequence[Draws], scores: np.ndarray) -> np.ndarray:
    """One token of each row (B,), of those that top_k and top_p leave over.

    Only the candidates are sorted, the first of the ranking: more of them for the rows that need
    more.
    """
    vocabulary = scores.shape[1]
    peaks = scores.max(axis=1, keepdims=True)  # (B, 1)
    tokens = np.full(len(rows), NO_TOKEN)
    left = np.flatnonzero(np.isfinite(peaks[:, 0]))  # (L,)
    count = CANDIDATES
    while len(left):
        # A sort of twice as many costs less than taking candidates first.
        count = count if 2 * count < vocabulary else vocabulary
        some = [rows[n] for n in left.tolist()]
        enough, found = _of_candidates(some, scores[left], peaks[left], count)
        tokens[left[enough]] = found
        left = left[~enough]
        count *= MORE_CANDIDATES
    return tokens


def _of_candidates(
    rows: Sequence[Draws], scores: np.ndarray, peaks: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows `count` candidates are enough for (B,), and a token of each of those.

    A prefix of the ranking is the same, and adds up to the same, however many candidates follow: so
    a row's token doesn't depend on how many its company made it look at.
    """
    temperatures = _temperatures(rows)
    ranking = _ranking(scores, count)  # (B, C)
    candidates = np.take_along_axis(scores, ranking, axis=1)
    cumulative = _weights(candidates, peaks, temperatures).cumsum(axis=1, dtype=np.float64)
    everything = scores.shape[1]
    top_k = np.array([row.top_k or everything for row in rows])  # (B,)
    top_p = np.array([row.top_p for row in rows])
    # What p is a share of: the first k, or all there is.
    mass = cumulative[np.arange(len(rows)), np.minimum(top_k, count) - 1]  # (B,)
    unbounded = top_k == everything
    if count < everything and unbounded.any():
        weights = _weights(scores[unbounded], peaks[unbounded], temperatures[unbounded])
        mass[unbounded] = weights.astype(np.float64).sum(axis=1)
    # A token is kept while those before it don't reach p.
    before = (cumulative < (top_p * mass)[:, np.newaxis]).sum(axis=1)
    kept = np.minimum(before + 1, top_k)  # (B,)
    enough = (kept <= count) & (unbounded | (top_k <= count))
    fitting = [row for row, fits in zip(rows, enough.tolist(), strict=True) if fits]
    cumulative, kept = cumulative[enough], kept[enough]
    ranks = _first_beyond(cumulative, cumulative[np.arange(len(fitting)), kept - 1], fitting)
    return enough, ranking[enough, ranks]


def _ranking(scores: np.ndarray, count: int) -> np.ndarray:
    """The first `count` tokens of each row's ranking (B, C).

    Scores become whole numbers that fall as the score rises, with the token's number behind: all
    are different, so it doesn't matter how they are sorted.
    """
    bits = (scores + np.float32(0.0)).view(np.uint32)  # a sum is never -0.0
    falling = np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF)).astype(np.uint64)
    keys = falling << np.uint64(32) | np.arange(scores.shape[1], dtype=np.uint64)
    if count < scores.shape[1]:
        keys = np.partition(keys, count - 1, axis=1)[:, :count]
    keys.sort(axis=1)
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.intp)


def _temperatures(rows: Sequence[Draws]) -> np.ndarray:
    return np.array([row.temperature for row in rows], np.float32)[:, np.newaxis]  # (B, 1)


def _weights(scores: np.ndarray, peaks: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Probabilities up to a factor; the peak's is 1 (so a tiny temperature makes no infinity)."""
    weights: np.ndarray = scores - peaks
    weights /= temperatures
    np.exp(weights, out=weights)
    return weights


def _first_beyond(cumulative: np.ndarray, totals: np.ndarray, rows: Sequence[Draws]) -> np.ndarray:
    """Where each row's next number falls (B,), as a share of its total (B,).

    A number below 1 times the total is below the total, so there is such a place, and it has a
    weight.
    """
    reached = np.array([row.uniform() for row in rows]) * totals
    places: np.ndarray = (cumulative > reached[:, np.newaxis]).argmax(axis=1)
    return places


def _logprobs(rows: Sequence[Draws], logits: np.ndarray, drawn: np.ndarray) -> list[float | None]:
    """The drawn tokens' log-softmax, None where it isn't wanted or nothing was drawn."""
    logprobs: list[float | None] = [None] * len(rows)
    wanted = [n for n, row in enumerate(rows) if row.logprobs and drawn[n] != NO_TOKEN]
    if wanted:
        scores = logits[wanted] - logits[wanted].max(axis=1, keepdims=True)
        sums = np.exp(scores).astype(np.float64).sum(axis=1)
        found = scores[np.arange(len(wanted)), drawn[wanted]] - np.log(sums)
        for n, logprob in zip(wanted, found.tolist(), strict=True):
            logprobs[n] = logprob
    return logprobs
