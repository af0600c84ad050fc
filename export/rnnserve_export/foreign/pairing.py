"""Which inputs are states, and which outputs are their next ones.

All pairs are chosen at once, so that together they have the most evidence (a matching of greatest
weight), never one after the other. How far the best choice is ahead of the next best one that gives
a tensor another partner says how sure each pair is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np

from rnnserve_export.foreign.evidence import Evidence, Sure, evidence, is_worth_a_thought, possible
from rnnserve_export.foreign.file import Tensor
from rnnserve_export.foreign.flow import Flow

CLEARLY_AHEAD = 2_000
"""More than all that nearness in the graph can weigh."""
AHEAD = 4
"""In `operators.cost`: what lies between a gate and the layer behind it."""


@dataclass(frozen=True)
class Pair:
    """A state: its input, and the output that is its next."""

    input: str
    output: str
    sure: Sure
    why: tuple[str, ...]
    is_firm: bool = True
    """Whether it holds even where nothing would be left to be data."""


def find_pairs(
    inputs: Iterable[Tensor], outputs: Iterable[Tensor], flow: Flow, other_data: int = 0
) -> list[Pair]:
    """The states among `inputs`; what is left is data. The order of neither matters.

    `other_data`: how many inputs besides are known to be data.
    """
    inputs = sorted(inputs, key=lambda tensor: tensor.name)
    outputs = sorted(outputs, key=lambda tensor: tensor.name)
    known = {
        (one.name, other.name): evidence(one, other, flow)
        for one in inputs
        for other in outputs
        if possible(one, other) and is_worth_a_thought(one, other, flow)
    }
    chosen = _heaviest(known)
    ahead = _ahead(known, chosen)
    pairs = [_pair(known[ends], ahead[ends], _rivals(known, ends)) for ends in chosen]
    return _leave_data(pairs, min(len(inputs) + other_data, len(outputs)))


def _rivals(known: dict[tuple[str, str], Evidence], ends: tuple[str, str]) -> list[Evidence]:
    """What speaks for other partners of either."""
    return [
        found for (one, other), found in known.items() if (one == ends[0]) != (other == ends[1])
    ]


def _pair(found: Evidence, ahead: float, rivals: list[Evidence]) -> Pair:
    """How sure a chosen pair is, by what speaks for it and how far it is ahead of its rivals."""
    why = found.why
    if any(found.is_denied_by(rival) for rival in rivals):
        partner = Sure.GUESS
        why += ("but names and graph say the opposite",)
    elif ahead >= CLEARLY_AHEAD:
        partner = found.is_next
    elif ahead >= AHEAD:
        partner = min(found.is_next, Sure.LIKELY)
        why += ("nearer to each other in the graph than to others",)
    else:
        partner = Sure.GUESS
        why += ("others would do as well",)
    if ahead == np.inf:
        why += ("nothing else goes with either",)
    return Pair(found.input, found.output, min(found.is_state, partner), why, found.is_firm)


def _leave_data(pairs: list[Pair], most: int) -> list[Pair]:
    """A stream takes something and gives something: of `most` possible pairs, one must be data."""
    firm = [pair for pair in pairs if pair.is_firm and pair.sure > Sure.GUESS]
    soft = [pair for pair in pairs if not pair.is_firm and pair.sure > Sure.GUESS]
    guesses = [pair for pair in pairs if pair.sure is Sure.GUESS]
    left = most - len(firm)
    if len(soft) >= left > 0:
        reason = "one of these must be data"
        soft = [] if len(soft) == 1 else [
            replace(pair, sure=Sure.GUESS, why=(*pair.why, reason)) for pair in soft
        ]  # fmt: skip
    left -= len(soft)
    if left < 2:
        guesses = []
    return sorted([*firm, *soft, *guesses], key=lambda pair: (-pair.sure, pair.input))


def _heaviest(known: dict[tuple[str, str], Evidence]) -> list[tuple[str, str]]:
    graph = nx.Graph()
    for (one, other), found in known.items():
        graph.add_edge((0, one), (1, other), weight=found.weight)
    matched = (sorted(edge) for edge in nx.max_weight_matching(graph))
    return sorted((one, other) for (_, one), (_, other) in matched)


def _ahead(
    known: dict[tuple[str, str], Evidence], chosen: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """For each chosen pair, what is lost at least when one of both gets another partner.

    A change is a ring: each tensor takes the partner of the next one, and those that have none
    stand in the ring with nobody. The least loss of a ring is a shortest path.
    """
    partners = dict(chosen)
    ones = sorted({one for one, _ in known})
    single = sorted({other for _, other in known} - set(partners.values()))
    # Each input with its partner, each other output with nobody, and nobody with nobody.
    rows: list[tuple[str | None, str | None]] = [(one, partners.get(one)) for one in ones]
    rows += [(None, other) for other in single] + [(None, None)]

    def weight(one: str | None, other: str | None) -> float:
        if one is None or other is None:
            return 0.0
        found = known.get((one, other))
        return -np.inf if found is None else float(found.weight)

    kept = np.array([weight(*row) for row in rows])
    taken = np.array([[weight(one, other) for _, other in rows] for one, _ in rows])
    loss = kept[:, None] - taken  # (R, R): row i takes the partner of row k
    way = loss.copy()
    for middle in range(len(rows)):
        way = np.minimum(way, way[:, middle, None] + way[None, middle, :])
    found = {}
    for place, (one, other) in enumerate(rows):
        if one is None or other is None:
            continue
        others = [k for k in range(len(rows)) if k != place]
        leaves = [loss[place, k] + way[k, place] for k in others if rows[k][1] is not None]
        loses = [way[place, k] + loss[k, place] for k in others if rows[k][0] is not None]
        found[one, other] = float(min([*leaves, *loses], default=np.inf))
    return found
