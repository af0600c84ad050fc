"""Objects against the API's schemas, in the latest four Kubernetes minors that the package knows.

The schemas are those of kubernetes-validate, strict: a field that a minor doesn't know is an error.
Its own function reads them anew for each object; here each is read once.
"""

import functools
import re
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import all_versions, major_minor, schema_contents
from referencing import Registry, Resource

from deploy.cluster.manifests import Object

MINORS = tuple(dict.fromkeys(all_versions()))[-4:]
MONITORING = "monitoring.coreos.com/v1"

_NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
SERVICE_MONITOR: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": MONITORING},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": _NAME, "namespace": _NAME, "labels": _LABELS},
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["selector", "endpoints"],
            "properties": {
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"matchLabels": _LABELS},
                },
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["port"],
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string", "pattern": "^/"},
                            "interval": _DURATION,
                            "scrapeTimeout": _DURATION,
                        },
                    },
                },
            },
        },
    },
}
"""The Prometheus operator's resource, as far as it is used here."""

_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["expr"],
    "properties": {
        "record": {"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"},
        "alert": {"type": "string", "minLength": 1},
        "expr": {"type": "string", "minLength": 1},
        "for": _DURATION,
        "labels": _LABELS,
        "annotations": _LABELS,
    },
    "oneOf": [
        {
            "required": ["record"],
            "not": {"anyOf": [{"required": [name]} for name in ("for", "annotations")]},
        },
        {"required": ["alert"], "not": {"required": ["record"]}},
    ],
}
PROMETHEUS_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": MONITORING},
        "kind": {"const": "PrometheusRule"},
        "metadata": SERVICE_MONITOR["properties"]["metadata"],
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["groups"],
            "properties": {
                "groups": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name", "rules"],
                        "properties": {
                            "name": {"type": "string", "minLength": 1},
                            "interval": _DURATION,
                            "rules": {"type": "array", "minItems": 1, "items": _RULE},
                        },
                    },
                },
            },
        },
    },
}
"""The one for rules, likewise."""
OF_THE_OPERATOR = {"ServiceMonitor": SERVICE_MONITOR, "PrometheusRule": PROMETHEUS_RULE}


def problems(one: Object, minor: str) -> list[str]:
    """What the API of that minor would not take."""
    where = f"{one['kind']} {one['metadata']['name']}"
    found = _validator(one["apiVersion"], one["kind"], minor).iter_errors(one)
    return [f"{where}: {error.json_path}: {error.message}" for error in found]


@functools.cache
def _validator(api: str, kind: str, minor: str) -> Draft202012Validator:
    if api == MONITORING:
        return Draft202012Validator(OF_THE_OPERATOR[kind])
    # rbac.authorization.k8s.io/v1 is called rbac-v1 here.
    short = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)
    schema = _read(f"{kind.lower()}-{short}.json", minor)
    registry: Registry[Any] = Resource.from_contents(schema) @ _definitions(minor)
    return Draft202012Validator(schema, registry=registry)


@functools.cache
def _definitions(minor: str) -> Registry[Any]:
    return Resource.from_contents(_read("_definitions.json", minor)) @ Registry()


def _read(file: str, minor: str) -> Any:
    path = f"kubernetes-json-schema/v{minor}-local-strict/{file}"
    return schema_contents(path, major_minor(minor))
