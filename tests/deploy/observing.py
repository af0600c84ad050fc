"""What lies in deploy/ for Prometheus, Grafana and whoever is on call."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deploy.promql import LABEL_VALUES

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RUNBOOKS = DEPLOY / "runbooks"
DASHBOARD = DEPLOY / "grafana" / "rnnserve.json"
CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))

CHOSEN = {"$job": ".*", "$instance": ".*", "$model": ".*", "$__rate_interval": "1m"}
"""What Grafana writes in place of variables where everything is chosen."""

Rule = dict[str, Any]


@cache
def rules(kind: str) -> tuple[Rule, ...]:
    """`record` or `alert`: every rule of that kind."""
    files = [
        yaml.safe_load((PROMETHEUS / name).read_text()) for name in ("rules.yml", "alerts.yml")
    ]
    return tuple(
        rule
        for file in files
        for group in file["groups"]
        for rule in group["rules"]
        if kind in rule
    )


@cache
def panels() -> tuple[dict[str, Any], ...]:
    """Of the dashboard, without the rows."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    return tuple(panel for panel in found if panel["type"] != "row")


def chosen(expression: str) -> str:
    """An expression of the dashboard as Prometheus is asked it."""
    for name, value in CHOSEN.items():
        expression = expression.replace(name, value)
    return expression


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Title and expression, of every line of every panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], chosen(target["expr"])


def variable_queries() -> Iterator[tuple[str, str]]:
    """The series and the label that the dashboard's choices are made of."""
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            found = LABEL_VALUES.fullmatch(chosen(variable["query"]))
            assert found is not None, variable
            yield found[1], found[2]


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and every expression that is asked of Prometheus anywhere."""
    for rule in (*rules("record"), *rules("alert")):
        yield rule.get("record") or rule["alert"], rule["expr"]
    yield from dashboard_queries()
    for series, label in variable_queries():
        yield f"variable {label}", series
    for page in sorted(RUNBOOKS.glob("*.md")):
        for query in page_queries(page):
            yield page.name, query


def page_queries(page: Path) -> list[str]:
    """What a runbook tells to ask Prometheus: its blocks of `promql`."""
    blocks = re.findall(r"^```promql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [query for block in blocks for query in re.split(r"\n\n+", block.strip())]
