"""What a PromQL expression names: as much of its grammar as ours use, and no more."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

STRING = r'"(?:[^"\\]|\\.)*"'
SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)\s*\{{((?:{STRING}|[^}}\"])*)\}}")
MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({STRING})")
BARE = re.compile(r"\b(?:(?:rnnserve|process|python)_\w+|up\b|[\w:]*:[\w:]+)")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
LABEL_VALUES = re.compile(r"label_values\((.*), *(\w+)\)")


@dataclass(frozen=True)
class Selector:
    """A metric, and what is asked of its labels: (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric that it reads."""
    for metric, inside in SELECTOR.findall(expression):
        yield Selector(
            metric, tuple((name, how, what[1:-1]) for name, how, what in MATCHER.findall(inside))
        )
    rest = re.sub(r"\[[^\]]*\]", "", re.sub(STRING, "", SELECTOR.sub("", expression)))
    for metric in BARE.findall(GROUPED.sub("", rest)):
        yield Selector(metric)


def grouped(expression: str) -> set[str]:
    """Every label that it sums or matches by."""
    lists = GROUPED.findall(expression)
    return {name.strip() for names in lists for name in names.split(",") if name.strip()}
