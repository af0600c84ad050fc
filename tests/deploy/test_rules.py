"""Rules and alerts: sound, tried both ways, and each with a page for whoever it wakes."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml

from deploy.observing import CASES, DEPLOY, PROMETHEUS, RUNBOOKS, Rule, page_queries, rules
from peers.prometheus import promtool
from rnnserve.cli import COMMANDS
from rnnserve.commands.models import ModelsOptions
from rnnserve.commands.target import Target
from rnnserve.errors import Fault, Reason
from rnnserve.ops.metrics import Metrics
from rnnserve.settings import ServeSettings

Key = tuple[str, ...]
OTHERS = ("kubectl ", "py-spy ", "openssl ", "curl ")
"""Programs whose options are not ours."""
LE = r'le="([^"]+)"'
TOLD_APART_BY = ("severity", "window")
"""Alerts of one name differ in these."""


def key(name: str, labels: dict[str, str]) -> Key:
    return (name, *(labels.get(label, "") for label in TOLD_APART_BY))


ALERTS = {key(rule["alert"], rule["labels"]): rule for rule in rules("alert")}


def tried() -> list[tuple[str, set[Key]]]:
    """Of every question in the cases: the alert's name, and which of that name fired."""
    return [
        (
            question["alertname"],
            {key(question["alertname"], alert["exp_labels"]) for alert in fired},
        )
        for file in CASES
        for case in yaml.safe_load(file.read_text())["tests"]
        for question in case["alert_rule_test"]
        for fired in (question["exp_alerts"],)
    ]


def test_the_configuration_and_every_rule_are_sound():
    checked = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout


def test_the_operators_rules_are_what_these_files_make():
    made = subprocess.run(
        [sys.executable, str(PROMETHEUS / "prometheus_rule.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(file):
    said = promtool("test", "rules", file)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("alert", ALERTS, ids=" ".join)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert):
    fired = [alert in keys for name, keys in tried() if name == alert[0]]
    assert any(fired)
    assert not all(fired)


def test_cases_are_evaluated_in_the_order_in_which_rules_need_each_other():
    groups = [
        group["name"]
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    ]
    for file in CASES:
        assert yaml.safe_load(file.read_text())["group_eval_order"] == groups


@pytest.mark.parametrize("alert", ALERTS, ids=" ".join)
def test_every_alert_says_how_bad_it_is_with_its_figures_and_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    said = rule["annotations"]
    assert said.keys() == {"summary", "description", "runbook"}
    assert said["runbook"] == f"deploy/runbooks/{rule['alert']}.md"
    assert "$value" in said["description"] or not measures(rule)


def measures(rule: Rule) -> bool:
    """Whether there is a figure to tell: of what is not there, there is none."""
    return not re.match(r"absent\(|up\{", rule["expr"])


def test_every_alert_has_its_page_and_every_page_its_alert():
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in rules("alert")}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("Rnnserve*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_it_means_what_users_notice_where_to_look_and_what_to_do(page):
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    places = [
        text.find(part)
        for part in ("**It means:**", "**Users notice:**", "## Look", "## Do", "**Wake somebody:**")
    ]
    assert -1 not in places
    assert places == sorted(places)
    assert page_queries(page)


def test_pages_lead_to_each_other_and_nowhere_else():
    for page in RUNBOOKS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (RUNBOOKS / link).exists(), (page.name, link)


def test_pages_advise_commands_options_and_reasons_that_there_are():
    options = {
        f"--{field.name.replace('_', '-')}"
        for options in (ServeSettings, Target, ModelsOptions)
        for field in fields(options)
    }
    commands = {command.name for command in COMMANDS}
    for page in RUNBOOKS.glob("*.md"):
        spans = re.findall(r"`([^`\n]+)`", page.read_text())
        ours = [span for span in spans if not span.startswith(OTHERS)]
        for span in ours:
            assert set(re.findall(r"--[a-z][a-z-]+", span)) <= options, (page.name, span)
            assert set(re.findall(r"^rnnserve (\w+)", span)) <= commands, (page.name, span)
        # A word alone that looks like a reason, first in its row of a table.
        rows = re.findall(r"^\| (`[^|]+) \|", page.read_text(), re.MULTILINE)
        for reason in re.findall(r"`(\w+)`", " ".join(rows)):
            assert Reason(reason).fault is not Fault.CALLER, (page.name, reason)


def test_a_server_that_still_loads_says_that_it_is_there_and_not_how_full_it_is():
    """What RnnserveDown and RnnserveNoneLoaded tell servers that load apart by."""
    families = Metrics().registry.collect()
    said = {sample.name for family in families for sample in family.samples}
    assert "rnnserve_build_info" in said
    assert "rnnserve_sessions_limit" not in said


@pytest.mark.parametrize("name", ["RnnserveNoneLoaded", "RnnserveTargetDown"])
def test_alerts_wait_longer_than_a_start_may_take(name):
    """The startup probe's patience; whoever changes it changes these."""
    deployment = yaml.safe_load((DEPLOY / "k8s" / "base" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    (waits,) = [rule["for"] for rule in rules("alert") if rule["alert"] == name]
    assert waits.endswith("m")
    assert 60 * int(waits[:-1]) > probe["periodSeconds"] * probe["failureThreshold"]


def test_late_means_one_time_everywhere():
    """`le` stands in every window's rule; to change one alone would compare apples with pears."""
    bounds = [bound for rule in rules("record") for bound in re.findall(LE, rule["expr"])]
    assert bounds == ["0.05"] * 11
    late = [rule for rule in rules("alert") if rule["alert"] == "RnnserveLatencyBudgetBurn"]
    assert all("50 ms" in rule["annotations"]["description"] for rule in late)
