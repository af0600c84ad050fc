"""A real Prometheus reads a real server under load, with our rules: whatever is asked of it, by the
rules, the dashboard and the runbooks, is there and has an answer."""

import shutil
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import trustme
import yaml
from prometheus_client.parser import text_string_to_metric_families

from certificates import HOST, Mounted
from deploy.bounded_load import BoundedLoad
from deploy.observing import (
    PROMETHEUS,
    RUNBOOKS,
    Rule,
    dashboard_queries,
    expressions,
    page_queries,
    rules,
    variable_queries,
)
from deploy.promql import Selector, grouped, selectors
from peers.prometheus import Prometheus, settled
from server_process import ServerProcess
from small_models import publish, small_model

MODEL, MAX_SESSIONS = "gru1", 4
ENOUGH_S = 20.0
EVERY = "250ms"
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""What it makes itself of every target."""
BY_PROMETHEUS = {"job", "instance", "namespace", "pod"}
"""Labels that a series gets when it is read; the last two in Kubernetes alone."""


@dataclass(frozen=True)
class Scene:
    """Everything, under way."""

    prometheus: Prometheus
    samples: dict[str, list[dict[str, str]]]
    """Of the server's /metrics: the labels of every series, by its name."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("observed")
    repository = folder / "repository"
    publish(small_model("gru", 1), repository)
    publish(small_model("lstm", 1), repository)
    (repository / "lstm1" / "1" / "model.onnx").write_bytes(b"not a graph")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    mounted = Mounted(folder, authority.issue_cert(HOST))
    options = ("--tls-certificate", str(mounted.certificate), "--tls-key", str(mounted.key))
    trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with (
        ServerProcess(repository, "--max-sessions", str(MAX_SESSIONS), *options) as server,
        grpc.secure_channel(server.target, trust) as channel,
        BoundedLoad(channel, MODEL, MAX_SESSIONS),
        Prometheus(configured(folder, server.metrics_url), folder / "data") as prometheus,
    ):
        scene = Scene(prometheus, series(server.metrics_url))
        yield scene


def configured(folder, metrics_url: str):
    """The example as it is, but for where the server is and how often it is looked at."""
    for name in ("rules.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, folder)
    content = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    content["global"] = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
    (job,) = content["scrape_configs"]
    job["static_configs"] = [{"targets": [metrics_url.split("/")[2]]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def series(metrics_url: str) -> dict[str, list[dict[str, str]]]:
    with urllib.request.urlopen(metrics_url) as page:
        text = page.read().decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


# What is named exists.


def recorded() -> set[str]:
    return {rule["record"] for rule in rules("record")}


def labels_of(metric: str, scene: Scene) -> set[str]:
    """What its series are told apart by, when Prometheus has read them."""
    if metric in OF_PROMETHEUS:
        return OF_PROMETHEUS[metric]
    return BY_PROMETHEUS.union(*scene.samples.get(metric, ()))


def unknown(selector: Selector, scene: Scene) -> str:
    """What is wrong with a selector; empty: nothing is."""
    metric = selector.metric
    if metric in recorded() or metric in OF_PROMETHEUS:
        return ""
    if metric not in scene.samples:
        return f"no series is called {metric}"
    for label, how, value in selector.matchers:
        if label not in labels_of(metric, scene):
            return f"{metric} has no label {label}"
        values = {labels.get(label) for labels in scene.samples[metric]}
        if label not in BY_PROMETHEUS and how == "=" and value not in values:
            return f"{metric} has no {label}={value}, but {sorted(map(str, values))}"
    return ""


def problems(expression: str, scene: Scene) -> list[str]:
    """What is wrong with an expression."""
    named = list(selectors(expression))
    if not named and not expression.startswith("vector("):
        return ["it names no metric"]
    wrong = [problem for one in named if (problem := unknown(one, scene))]
    if not any(one.metric in recorded() for one in named):
        known = set[str]().union(*(labels_of(one.metric, scene) for one in named))
        wrong += [f"nothing has the label {label}" for label in grouped(expression) - known]
    return wrong


def test_metrics_and_labels_that_are_named_are_in_metrics(scene):
    wrong = [(at, problem) for at, asked in expressions() for problem in problems(asked, scene)]
    assert wrong == []


def test_every_series_of_ours_is_on_the_dashboard_or_alerted_on(scene):
    """What nobody looks at needn't be counted."""
    asked = {one.metric for _, expression in expressions() for one in selectors(expression)}
    ours = {name for name in scene.samples if name.startswith("rnnserve_")}
    unseen = {name for name in ours - asked if not name.endswith(("_sum", "_count"))}
    assert unseen == set()


# Prometheus answers.


def unanswered(scene: Scene, queries: Iterable[str]) -> list[str]:
    """Those that say nothing, however long one waits."""
    left = list(queries)

    def look() -> list[str]:
        left[:] = [query for query in left if not spoken(scene.prometheus.query(query))]
        return left

    return settled(look, lambda left: not left, ENOUGH_S)


def spoken(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that say that they can't say: 0 of 0."""
    return [one for one in found if one["value"][1] != "NaN"]


def test_every_line_of_the_dashboard_has_data(scene):
    assert unanswered(scene, (query for _, query in dashboard_queries())) == []


def test_every_choice_of_the_dashboard_has_something_to_choose(scene):
    for metric, label in variable_queries():
        assert unanswered(scene, [metric]) == []
        assert all(label in one["metric"] for one in scene.prometheus.query(metric))


def test_every_recording_rule_records(scene):
    def of(rule: Rule) -> str:
        labels = ", ".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
        return f"{rule['record']}{{{labels}}}"

    assert unanswered(scene, map(of, rules("record"))) == []


def test_every_rule_is_evaluated_without_an_error(scene):
    def look() -> list[tuple[str, str]]:
        groups = scene.prometheus.ask("rules")["groups"]
        return [(rule["name"], rule["health"]) for group in groups for rule in group["rules"]]

    found = settled(look, lambda all: all and {health for _, health in all} == {"ok"}, ENOUGH_S)
    assert [one for one in found if one[1] != "ok"] == []
    assert len(found) == len(rules("record")) + len(rules("alert"))


def test_what_a_runbook_tells_to_ask_is_answered(scene):
    asked = {query for page in RUNBOOKS.glob("*.md") for query in page_queries(page)}
    # A server that is down, or drains, is what isn't there.
    of_trouble = {query for query in asked if query.endswith(("== 0", "== 1"))}
    assert unanswered(scene, asked - of_trouble) == []
    assert [query for query in of_trouble if scene.prometheus.query(query)] == []


# The numbers are the truth.


def test_a_model_that_cannot_be_served_and_refusals_are_on_their_way_to_somebody(scene):
    """Of this server, that has a broken model and one session too many: the alerts that see it are
    pending, and none of those that would wake somebody for what is well."""

    def look() -> set[str]:
        return {alert["labels"]["alertname"] for alert in scene.prometheus.ask("alerts")["alerts"]}

    wanted = {"RnnserveModelNotServed", "RnnserveModelVersionUnavailable", "RnnserveRefusing"}
    found = settled(look, wanted.issubset, ENOUGH_S)
    assert wanted <= found
    assert not found & {"RnnserveDown", "RnnserveTargetDown", "RnnserveInternalErrors"}


def test_what_prometheus_has_is_what_the_server_says(scene):
    def value(query: str) -> float:
        assert unanswered(scene, [query]) == []
        (one,) = scene.prometheus.query(query)
        return float(one["value"][1])

    assert value("rnnserve_sessions_limit") == MAX_SESSIONS
    assert 0 < value("job:rnnserve_failures:ratio_rate1h") < 1
    assert value("rnnserve:availability:objective") == 0.999
