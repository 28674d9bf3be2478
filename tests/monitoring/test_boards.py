"""The dashboard and the alert rules in docs/monitoring ask for nothing that is not exposed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from reliable_email.classification import Cause
from reliable_email.delivery.breaker import Phase
from reliable_email.delivery.report import Outcome
from reliable_email.diagnosis.verdict import Health
from reliable_email.monitoring.metrics import EmailCollector, exposition
from reliable_email.store.tables.states import State

_FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
_METRIC = re.compile(r"(reliable_email_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
_VALUES = {
    "status": set(Health),
    "outcome": set(Outcome),
    "cause": set(Cause),
    "phase": {one.word.replace(" ", "_") for one in Phase},
    "state": {*State, "running", "stopping", "missing"},
}


def alerts() -> list[dict[str, Any]]:
    """Each rule."""
    document = yaml.safe_load((_FOLDER / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads((_FOLDER / "grafana.json").read_text())
    return found


def expressions() -> Iterator[str]:
    """Whatever is asked of Prometheus."""
    for rule in alerts():
        yield rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]


@pytest.fixture
def exposed(make_site: Any) -> dict[str, str]:
    """The type of each family in an exposition."""
    make_site({"default": {"BACKEND": "django.core.mail.backends.dummy.EmailBackend"}})
    text = exposition()[0].decode()
    return {family.name: family.type for family in text_string_to_metric_families(text)}


def test_every_name_is_exposed(exposed: dict[str, str]) -> None:
    """With the suffix of its type; and nothing that is exposed is shown nowhere."""
    names = {name + suffix: name for name, kind in exposed.items() for suffix in _SUFFIXES[kind]}
    asked = {name for expression in expressions() for name, _ in _METRIC.findall(expression)}
    assert asked - set(names) == set()
    assert set(names.values()) - {names[name] for name in asked} == set()


def test_the_documentation_names_every_metric(exposed: dict[str, str]) -> None:
    """And no other."""
    text = (_FOLDER.parent / "monitoring.md").read_text()
    names = {name + ("_total" if kind == "counter" else "") for name, kind in exposed.items()}
    assert set(re.findall(r"^\| `(reliable_email_\w+)`", text, re.MULTILINE)) == names


def test_every_label_and_value_can_be_there() -> None:
    """A matcher that fits nothing is an alert that never fires."""
    labels = {family.name: set(family._labelnames) for family in EmailCollector().describe()}
    seen = 0
    for expression in expressions():
        for name, matchers in _METRIC.findall(expression):
            family = re.sub(r"_(total|bucket|count|sum)\Z", "", name)
            for label, _, values in _MATCHER.findall(matchers):
                seen += 1
                assert label in labels[family], expression
                if not values.startswith("$"):
                    assert set(values.split("|")) <= _VALUES[label], expression
    assert seen > 10


def test_every_alert_says_what_to_do() -> None:
    """To somebody who was woken up."""
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert len(rule["annotations"]["summary"]) > 20
        assert len(rule["annotations"]["description"]) > 40, rule["alert"]


def test_numbers_of_several_processes_are_never_added_up() -> None:
    """Each of them tells the whole: every metric stands inside of a max (or absent)."""
    for expression in expressions():
        for found in _METRIC.finditer(expression):
            before = expression[: found.start()]
            assert re.search(r"(max(?: by \([^)]*\))? ?\(|absent\(|label_values\()(rate\()?\Z", before), expression


def test_panels_do_not_cover_each_other() -> None:
    """Twenty-four columns."""
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
