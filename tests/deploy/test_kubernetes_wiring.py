"""Whatever the manifests name exists in the code, and in each other."""

import re
from collections.abc import Callable, Iterator

import pytest
import yaml

from deploy import dockerfile
from deploy.cluster import options, scaling, timeline, wiring
from deploy.cluster.manifests import K8S, ROOT, SERVING, Object, build, of_kind, server, the
from deploy.cluster.quantities import quantity
from deploy.cluster.schemas import MONITORING
from deploy.observing import PROMETHEUS
from peers.prometheus import promtool

pytestmark = pytest.mark.optional


def problems(objects: list[Object]) -> list[str]:
    """Of everything that is checked here."""
    image = dockerfile.ours()
    wrong = list(options.of_options(objects, image))
    return wrong or list(_further(objects, options.settings_of(objects, image)))


def _further(objects: list[Object], settings) -> Iterator[str]:
    yield from options.of_files(objects, settings)
    yield from options.of_memory(objects, settings)
    yield from options.of_limits(objects)
    yield from wiring.of_ports(objects, settings)
    yield from wiring.of_probes(objects, settings)
    yield from wiring.of_selectors(objects)
    yield from wiring.of_references(objects)
    yield from wiring.of_mounts(objects)
    yield from timeline.of_stop(objects, settings)
    yield from timeline.of_start(objects)
    yield from scaling.of_autoscaler(objects, scaling.adapter_rules(), settings)
    yield from scaling.of_monitor(objects, settings)


@pytest.mark.parametrize("folder", SERVING)
def test_everything_that_is_named_is_there(folder):
    assert problems(build(folder)) == []


def template(objects: list[Object]) -> Object:
    return the(objects, "Deployment")["spec"]["template"]


def given(objects: list[Object]) -> dict[str, str]:
    return the(objects, "ConfigMap")["data"]


def service(objects: list[Object]) -> Object:
    return of_kind(objects, "Service")[0]


def scaler(objects: list[Object]) -> Object:
    return the(objects, "HorizontalPodAutoscaler")["spec"]


def endpoint(objects: list[Object]) -> Object:
    return the(objects, "ServiceMonitor")["spec"]["endpoints"][0]


def volume(objects: list[Object], name: str) -> Object:
    (found,) = [one for one in template(objects)["spec"]["volumes"] if one["name"] == name]
    return found


def mount(objects: list[Object], name: str) -> Object:
    (found,) = [one for one in server(objects)["volumeMounts"] if one["name"] == name]
    return found


Damage = Callable[[list[Object]], object]
BROKEN: dict[str, tuple[Damage, str]] = {
    "another port": (
        lambda all: given(all).update(RNNSERVE_PORT="9001"),
        "the server opens {'grpc': 9001",
    ),
    "a port by another name": (
        lambda all: server(all)["ports"][0].update(name="rpc"),
        "the container names the ports {'rpc': 8001",
    ),
    "a Service's port": (
        lambda all: service(all)["spec"]["ports"][0].update(targetPort="http"),
        "Service rnnserve: port grpc leads to no port",
    ),
    "a policy's port": (
        lambda all: the(all, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0].update(port="rpc"),
        "no port rpc",
    ),
    "a probe's port": (
        lambda all: server(all)["readinessProbe"]["grpc"].update(port=8001),
        "readinessProbe asks port 8001",
    ),
    "a probe's service": (
        lambda all: server(all)["startupProbe"]["grpc"].update(service="rnnserve"),
        "which health doesn't know",
    ),
    "a probe over HTTP": (
        lambda all: server(all).update(startupProbe={**server(all)["startupProbe"], "grpc": None}),
        "no startupProbe over gRPC",
    ),
    "liveness that drains": (
        lambda all: server(all)["livenessProbe"]["grpc"].pop("service"),
        "would kill a pod that drains",
    ),
    "an unknown option": (
        lambda all: given(all).update(RNNSERVE_MAX_SESSION="5"),
        "no option RNNSERVE_MAX_SESSION",
    ),
    "a malformed option": (
        lambda all: given(all).update(RNNSERVE_GRACE_S="half a minute"),
        "refuses its environment",
    ),
    "an option out of range": (
        lambda all: given(all).update(RNNSERVE_MAX_SESSIONS="0"),
        "refuses its environment",
    ),
    "a file nowhere": (
        lambda all: given(all).update(RNNSERVE_TLS_CLIENT_CA="/ca/ca.crt"),
        "nothing is mounted for /ca/ca.crt",
    ),
    "carries without room": (
        lambda all: given(all).update(RNNSERVE_MAX_CARRY_BYTES=str(2 << 30)),
        "the server may need",
    ),
    "no CPU limit": (
        lambda all: server(all)["resources"]["limits"].pop("cpu"),
        "has no limit of cpu",
    ),
    "pods by other labels": (
        lambda all: template(all)["metadata"]["labels"].update({"app.kubernetes.io/name": "other"}),
        "Deployment looks for",
    ),
    "a Service of nobody": (
        lambda all: service(all)["spec"].update(selector={"app": "rnnserve"}),
        "Service rnnserve looks for",
    ),
    "a spread of nobody": (
        lambda all: template(all)["spec"]["topologySpreadConstraints"][1]["labelSelector"].update(
            matchLabels={}
        ),
        "spread over topology.kubernetes.io/zone looks for",
    ),
    "a claim that isn't there": (
        lambda all: volume(all, "models")["persistentVolumeClaim"].update(claimName="weights"),
        "wants PersistentVolumeClaim weights",
    ),
    "an account that isn't there": (
        lambda all: template(all)["spec"].update(serviceAccountName="default"),
        "wants ServiceAccount default",
    ),
    "a target that isn't there": (
        lambda all: scaler(all)["scaleTargetRef"].update(name="server"),
        "wants Deployment server",
    ),
    "models to be written": (
        lambda all: mount(all, "models").update(readOnly=False),
        "could be written to",
    ),
    "a certificate for good": (
        lambda all: mount(all, "tls").update(subPath="tls.crt"),
        "would never be renewed",
    ),
    "a mount of nothing": (lambda all: mount(all, "tmp").update(name="temp"), "no volume temp"),
    "a longer grace": (
        lambda all: given(all).update(RNNSERVE_GRACE_S="61"),
        "the pod is killed after 80 s",
    ),
    "a longer preStop": (
        lambda all: server(all)["lifecycle"]["preStop"]["sleep"].update(seconds=20),
        "the pod is killed after 80 s",
    ),
    "the default patience": (
        lambda all: template(all)["spec"].pop("terminationGracePeriodSeconds"),
        "the pod is killed after 30 s",
    ),
    "late to be not ready": (
        lambda all: server(all)["readinessProbe"].update(periodSeconds=60),
        "before the pod counts as not ready",
    ),
    "no time to load": (
        lambda all: server(all)["startupProbe"].update(failureThreshold=3),
        "the startup probe grants 15 s",
    ),
    "a metric of nobody": (
        lambda all: scaler(all)["metrics"][0]["pods"]["metric"].update(name="rnnserve_queue"),
        "the adapter offers no rnnserve_queue",
    ),
    "growing too late": (
        lambda all: given(all).update(RNNSERVE_MAX_SESSIONS="3000"),
        "2800 of 3000 sessions is too late",
    ),
    "metrics of nobody": (
        lambda all: the(all, "ServiceMonitor")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/component": "web"}
        ),
        "port metrics of 0 Services is []",
    ),
    "a port of the monitor": (
        lambda all: endpoint(all).update(port="prometheus"),
        "port prometheus of 1 Services is []",
    ),
    "a path of the monitor": (lambda all: endpoint(all).update(path="/stats"), "not at /stats"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest_is_found(case):
    damage, word = BROKEN[case]
    objects = build("overlays/production")
    damage(objects)
    found = problems(objects)
    assert any(word in problem for problem in found), found


@pytest.mark.parametrize(("folder", "column"), [("base", 1), ("overlays/production", 2)])
def test_the_readme_adds_up_the_same_stop(folder, column):
    lines = (ROOT / "deploy" / "README.md").read_text().splitlines()
    begin = lines.index("| stop | base | production | |")
    rows = [line.strip("|").split("|") for line in lines[begin + 2 : begin + 7]]
    *parts, whole = [float(row[column].strip(" *")) for row in rows]
    objects = build(folder)
    grace_s = options.settings_of(objects, dockerfile.ours()).grace_s
    assert parts[:2] == [timeline.pre_stop_s(template(objects)), grace_s]
    assert parts[2] >= timeline.END_S
    assert sum(parts) == whole == template(objects)["spec"]["terminationGracePeriodSeconds"]


def test_the_readme_names_every_file_of_the_base():
    text = (ROOT / "deploy" / "README.md").read_text()
    named = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", text, re.MULTILINE))
    files = {file.name for file in (K8S / "base").iterdir()}
    assert named == files - {"kustomization.yaml"}


@pytest.mark.parametrize("folder", ["base", "overlays/production"])
def test_the_operator_gets_every_rule_and_alert_as_it_stands_in_the_files(folder):
    (given_rules,) = of_kind(build(folder), "PrometheusRule")
    files = [PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml"]
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert given_rules["spec"]["groups"] == groups


def test_where_there_is_no_operator_nothing_asks_for_one():
    assert not [one for one in build("overlays/laptop") if one["apiVersion"] == MONITORING]


def test_the_adapters_rules_ask_for_series_that_a_server_has():
    assert list(scaling.of_rules(scaling.adapter_rules(), scaling.series())) == []


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ({"seriesQuery": 'rnnserve_session{namespace!="",pod!=""}'}, "no series rnnserve_session"),
        ({"seriesQuery": 'rnnserve_sessions{namespace!=""}'}, "without its pod"),
        ({"name": {"matches": "sessions", "as": "x"}}, "is not the name of"),
        ({"resources": {"overrides": {"pod": {"resource": "pod"}}}}, "belongs to {'pod'}"),
    ],
)
def test_a_rule_that_would_find_nothing_is_found(damage, word):
    rule = {**scaling.adapter_rules()[0], **damage}
    assert any(word in problem for problem in scaling.of_rules([rule], scaling.series()))


@pytest.mark.parametrize(("end", "status"), [("", 0), (")", 1)])
def test_the_adapters_queries_are_queries(tmp_path, end, status):
    rules = [
        {"record": f"x{place}", "expr": scaling.query(rule) + end}
        for place, rule in enumerate(scaling.adapter_rules())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": rules}]}))
    ran = promtool("check", "rules", file)
    assert ran.returncode == status, ran.stdout


@pytest.mark.parametrize(
    ("text", "number"), [("700", 700), ("25m", 0.025), ("1Gi", 2**30), ("1.5k", 1500)]
)
def test_a_quantity_is_a_number(text, number):
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "-1"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)
