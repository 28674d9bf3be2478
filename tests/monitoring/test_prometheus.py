"""The dashboard and the alert rules, asked of a Prometheus that scrapes the live demo."""

import json
import math
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.demo.live import live
from tests.demo.visitor import Visitor
from tests.monitoring.charts import draw
from tests.monitoring.prometheus import Prometheus, Series, scraping
from tests.servers.ground import wait_until
from tests.services import require

pytestmark = pytest.mark.timeout(300)
_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "docs" / "monitoring"
_TOKEN = "of-this-test"
_PATIENCE_SECONDS = 120.0
_SECONDS_OF_A_CURVE = 10


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard."""
    found: list[dict[str, Any]] = json.loads((_FOLDER / "grafana.json").read_text())["panels"]
    return found


def asked(expression: str) -> str:
    """The expression as Grafana sends it, for all routes."""
    return re.sub(r"\$route\b", ".*", expression.replace("$__rate_interval", "10s"))


def drawn(prometheus: Prometheus, since: float) -> dict[int, list[tuple[str, Series]]]:
    """Legends and series of each panel, by its id."""
    return {
        panel["id"]: [
            (target.get("legendFormat", ""), prometheus.series(asked(target["expr"]), since, time.time()))
            for target in panel["targets"]
        ]
        for panel in panels()
    }


def empty(found: dict[int, list[tuple[str, Series]]]) -> list[str]:
    """The queries of the dashboard without a curve."""
    return [
        f"{panel['title']}: {target['expr']}"
        for panel in panels()
        for target, (_, series) in zip(panel["targets"], found[panel["id"]], strict=True)
        if not any(sum(math.isfinite(number) for _, number in points) >= _SECONDS_OF_A_CURVE for _, points in series)
    ]


def test_prometheus_reads_the_rules() -> None:
    """By its own tool."""
    require("prometheus")
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(_FOLDER / "alerts.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_has_data_and_a_trouble_raises_its_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query of the dashboard has a number, drawn to var/monitoring/dashboard.png; no rule fails."""
    require("prometheus")
    monkeypatch.setenv("DEMO_MONITOR_TOKEN", _TOKEN)
    began = time.time()
    with (
        live(tmp_path, "--port", "0", "--calm") as running,
        scraping(running.site, _TOKEN, _FOLDER / "alerts.yml", tmp_path) as prometheus,
    ):
        visitor = Visitor(running.site)
        visitor.visit()
        visitor.press("Send", recipient="nobody@customer.example")
        visitor.visit()
        visitor.press("Take it down", within="provider-gmail")
        wait_until(
            lambda: not empty(drawn(prometheus, began)),
            "data in every panel",
            lambda: "\n".join(empty(drawn(prometheus, began))) + running.said(),
            _PATIENCE_SECONDS,
        )

        def pending() -> list[str]:
            return [one["labels"]["alertname"] for one in prometheus.ask("alerts")["alerts"]]

        wait_until(lambda: "EmailRouteClosed" in pending(), "an alert", lambda: f"{pending()}", _PATIENCE_SECONDS)
        assert "EmailMetricsMissing" not in pending()
        (group,) = prometheus.ask("rules")["groups"]
        assert {rule["name"]: rule["lastError"] for rule in group["rules"] if rule["health"] != "ok"} == {}
        draw(panels(), drawn(prometheus, began), _ROOT / "var" / "monitoring" / "dashboard.png")
