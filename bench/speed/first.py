"""The first message of a process: `python -m bench.speed.first STEP PORT FOLDER` prints what it cost as JSON.

A cron job, a serverless function and a recycled worker pay this for each message or few. STEP is `django` (its SMTP
backend), `send` (directly), `enqueue`, or `worker` (until an empty queue is drained). Everything is measured over a
site that has Django, its mail, a database and this app in place. `own` counts the package's modules that were imported
meanwhile, `dataclasses` what the standard library wrote of them, `patterns` the regular expressions that were compiled.
"""

import dataclasses
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

STEPS = ("django", "send", "enqueue", "worker")


class Counted:
    """What the standard library was asked to make, by what makes it."""

    def __init__(self) -> None:
        self.dataclasses = self.patterns = 0
        self._make: Any = dataclasses._process_class  # type: ignore[attr-defined]
        self._compile: Any = re._compiler.compile  # type: ignore[attr-defined]
        dataclasses._process_class = self._made  # type: ignore[attr-defined]
        re._compiler.compile = self._compiled  # type: ignore[attr-defined]

    def _made(self, *args: Any, **kwargs: Any) -> Any:
        self.dataclasses += 1
        return self._make(*args, **kwargs)

    def _compiled(self, *args: Any, **kwargs: Any) -> Any:
        self.patterns += 1
        return self._compile(*args, **kwargs)


def main(step: str, port: int, folder: Path) -> None:
    """Start as a site does, then do the step."""
    import django
    from django.conf import settings

    from bench.speed.client import BACKENDS

    backend = BACKENDS["Django" if step == "django" else "reliable_email"]
    mailers = {"smtp": {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": port}}}
    mailers["default"] = mailers["smtp"]
    if step in ("enqueue", "worker"):
        mailers["default"] = {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "smtp"},  # type: ignore[dict-item]
        }
    settings.configure(
        DEFAULT_FROM_EMAIL="shop@example.org",
        SECRET_KEY="bench",
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "reliable_email"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "first.sqlite3")}},
        MAILERS=mailers,
    )
    django.setup()
    import django.core.mail.backends.smtp
    import django.http
    import django.urls
    from django.core import mail, management
    from django.db import connection

    if not (folder / "first.sqlite3").exists():
        management.call_command("migrate", verbosity=0)
    connection.ensure_connection()
    before, counted, began = set(sys.modules), Counted(), time.process_time()
    if step == "worker":
        management.call_command("email_worker", "--until-empty", verbosity=0)
    else:
        mail.send_mail("Your order", "Dear Ms Example,\n", None, ["b@example.net"], html_message="<p>Dear Ms Example,")
    cpu = time.process_time() - began
    modules = set(sys.modules) - before
    own = sorted(one for one in modules if one.startswith("reliable_email"))
    told = {"cpu": cpu, "own": len(own), "dataclasses": counted.dataclasses, "patterns": counted.patterns}
    print(json.dumps(told | {"names": own, "others": sorted(modules - set(own))}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
