"""A Prometheus that scrapes one site, and is asked what it has seen."""

import json
import os
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.servers.ground import wait_until

Series = list[tuple[dict[str, str], list[tuple[float, float]]]]


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with self._opener.open(f"{self._address}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, path: str, **fields: str) -> Any:
        """The data of an answer of its API."""
        query = urllib.parse.urlencode(fields)
        try:
            with self._opener.open(f"{self._address}/api/v1/{path}?{query}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields}: {error.read().decode()}") from error

    def series(self, expression: str, since: float, until: float) -> Series:
        """Labels, and (moment, number) for each second."""
        found = self.ask("query_range", query=expression, start=str(since), end=str(until), step="1")["result"]
        return [(one["metric"], [(float(at), float(number)) for at, number in one["values"]]) for one in found]


@contextmanager
def scraping(site: str, token: str, rules: Path, folder: Path) -> Iterator[Prometheus]:
    """Scrape `mail/metrics/` of a site every second, with these alert rules."""
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "site",
                "metrics_path": "/mail/metrics/",
                "authorization": {"credentials": token},
                "static_configs": [{"targets": [urllib.parse.urlsplit(site).netloc]}],
            }
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(settings))
    port, said = _free_port(), folder / "prometheus.said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        running = Prometheus(port)
        wait_until(running.is_ready, "Prometheus", said.read_text)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
