"""The demo's settings for `demo.live`: mailers that were made for this run, pages of its own, a strict CSP."""

import json
import os
from pathlib import Path

from demo import database as _database
from demo.settings import *  # noqa: F403 - a project's settings stand on each other
from demo.settings import MIDDLEWARE, VAR_DIR

DATABASES = {"default": _database.settings(None, VAR_DIR / "demo.sqlite3")}
MAILERS = json.loads(Path(os.environ["DEMO_LIVE_MAILERS"]).read_text())
DEFAULT_FROM_EMAIL = "Shop <orders@shop.example>"
# So that the pages are never far behind.
RELIABLE_EMAIL = {"POLL_SECONDS": 0.5, "LEASE_SECONDS": 20}
# For a Prometheus of yours: docs/how-to/monitoring.md.
if "DEMO_MONITOR_TOKEN" in os.environ:
    RELIABLE_EMAIL |= {"HEALTH_TOKENS": [os.environ["DEMO_MONITOR_TOKEN"]]}

ROOT_URLCONF = "demo.live.urls"
LOGIN_URL = "admin:login"
MIDDLEWARE = ["demo.live.csp.ContentSecurityPolicy", *MIDDLEWARE]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"terminal": {"class": "logging.StreamHandler"}},
    # The pages tell of what is retried.
    "loggers": {
        "reliable_email": {"handlers": ["terminal"], "level": "CRITICAL", "propagate": False},
        "django.server": {"handlers": ["terminal"], "level": "ERROR", "propagate": False},
        "django.request": {"handlers": ["terminal"], "level": "ERROR", "propagate": False},
    },
}
