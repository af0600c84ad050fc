"""The autoscaler's way to its numbers: its metrics, the adapter's rules, the server's series."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from deploy.cluster.manifests import K8S, Object, of_kind
from deploy.cluster.quantities import quantity
from rnnserve.ops.metrics import Metrics
from rnnserve.settings import ServeSettings

ROOM = 0.8
"""The share of a pod's sessions at which others should have come already."""
SERIES = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def adapter_rules() -> list[dict[str, Any]]:
    """The rules for prometheus-adapter."""
    rules = yaml.safe_load((K8S / "adapter-rules.yaml").read_text())["rules"]
    assert isinstance(rules, list)
    return rules


def series() -> frozenset[str]:
    """Every series that a server with a model shows, by name."""
    metrics = Metrics()
    metrics.expect("model", generates=True)
    families = metrics.registry.collect()
    return frozenset(sample.name for family in families for sample in family.samples)


def of_rules(rules: Iterable[dict[str, Any]], known: frozenset[str]) -> Iterator[str]:
    """Rules that look for a series which no server has, or that can't tell pods apart."""
    for rule in rules:
        name, labels = rule["seriesQuery"].split("{")
        if name not in known:
            yield f"no series {name}"
        if not re.fullmatch(rule["name"]["matches"], name):
            yield f"{rule['name']['matches']} is not the name of {name}"
        if not ('namespace!=""' in labels and 'pod!=""' in labels):
            yield f"{name} is looked for without its pod"
        resources = {of["resource"] for of in rule["resources"]["overrides"].values()}
        if resources != {"namespace", "pod"}:
            yield f"{name} belongs to {resources}"


def query(rule: dict[str, Any]) -> str:
    """The rule's query as the adapter asks it of Prometheus for two pods."""
    return (
        rule["metricsQuery"]
        .replace("<<.Series>>", rule["seriesQuery"].split("{")[0])
        .replace("<<.LabelMatchers>>", 'namespace="rnnserve",pod=~"one|two"')
        .replace("<<.GroupBy>>", "pod")
    )


def of_autoscaler(
    objects: list[Object], rules: Iterable[dict[str, Any]], settings: ServeSettings
) -> Iterator[str]:
    """Metrics that the adapter doesn't offer; targets that can't be reached in time."""
    offered = {rule["name"]["as"] for rule in rules}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            name = metric["pods"]["metric"]["name"]
            if name not in offered:
                yield f"the adapter offers no {name}"
            target = quantity(metric["pods"]["target"]["averageValue"])
            if name == "rnnserve_sessions" and target > ROOM * settings.max_sessions:
                yield f"{target:g} of {settings.max_sessions} sessions is too late to grow"


def of_monitor(objects: list[Object], settings: ServeSettings) -> Iterator[str]:
    """ServiceMonitors that find no metrics, or the same ones twice."""
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        chosen = [
            one
            for one in of_kind(objects, "Service")
            if wanted.items() <= one["metadata"]["labels"].items()
        ]
        for endpoint in monitor["spec"]["endpoints"]:
            numbers = [
                port["port"]
                for service in chosen
                for port in service["spec"]["ports"]
                if port["name"] == endpoint["port"]
            ]
            if numbers != [settings.metrics_port]:
                yield f"port {endpoint['port']} of {len(chosen)} Services is {numbers}"
            if endpoint.get("path", "/metrics") != "/metrics":
                yield f"metrics are not at {endpoint['path']}"
