"""The rules as the Prometheus operator wants them: `python deploy/prometheus/prometheus_rule.py`
writes deploy/k8s/base/rules.yaml.

The operator loads no files, only objects of the kind PrometheusRule. rules.yml and alerts.yml stay
the one source. `--check` writes nothing and fails where the committed file differs.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCES = (HERE / "rules.yml", HERE / "alerts.yml")
TARGET = HERE.parent / "k8s" / "base" / "rules.yaml"
HEAD = """\
# For the Prometheus operator: the rules and alerts of deploy/prometheus, which explain themselves
# there. Made by deploy/prometheus/prometheus_rule.py; change rules.yml or alerts.yml, and run it.
"""


class Dumper(yaml.SafeDumper):
    """As files are written here: text of several lines as a block, lists indented, no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def prometheus_rule() -> dict[str, Any]:
    """The object, with every group of both files in their order."""
    groups = [group for source in SOURCES for group in yaml.safe_load(source.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "rnnserve", "labels": {"app.kubernetes.io/name": "rnnserve"}},
        "spec": {"groups": groups},
    }


def text() -> str:
    """The file: the same bytes whenever the sources are the same."""
    return HEAD + yaml.dump(prometheus_rule(), Dumper=Dumper, sort_keys=False, width=100)


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(text())
    elif not TARGET.exists() or TARGET.read_text() != text():
        raise SystemExit(
            f"{TARGET.name} is stale. Run: python deploy/prometheus/prometheus_rule.py"
        )


if __name__ == "__main__":
    main()
