"""A site in a process of its own whose package is removed under its worker, as by a deploy; prints the outcomes.

`python replaced_site.py FOLDER PORT CAFILE TO...`: FOLDER has a copy of the package.
"""

import json
import shutil
import sys
from pathlib import Path

folder, port, cafile, *to = sys.argv[1:]
sys.path.insert(0, folder)

import django  # noqa: E402
from django.conf import settings  # noqa: E402

SMTP = "reliable_email.backends.ReliableSMTPBackend"
smtp = {"host": "localhost", "port": int(port), "use_tls": True, "ssl_cafile": cafile}
settings.configure(
    SECRET_KEY="only for tests",
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes", "reliable_email"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/site.sqlite3"}},
    MAILERS={
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "smtp"}},
        "smtp": {"BACKEND": SMTP, "OPTIONS": smtp},
    },
    **({} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"}),
)
django.setup()

from django.core import mail  # noqa: E402
from django.core.management import call_command  # noqa: E402

from reliable_email.outbox import faultpoints  # noqa: E402
from reliable_email.store.tables.recipients import OutboxRecipient  # noqa: E402

package = Path(folder, "reliable_email")
assert Path(faultpoints.__file__).is_relative_to(package)


def replace(passed: str) -> None:
    """Take the files away before the first connection of the worker."""
    if passed == "send:begin" and package.exists():
        shutil.rmtree(package)


call_command("migrate", verbosity=0)
for one in to:
    mail.send_mail("Hello", "World", "site@example.org", [one])
faultpoints.listen(replace)
call_command("email_worker", f"--max-messages={len(to)}", "--connections=1", verbosity=0)
assert not package.exists()
sys.stdout.write(json.dumps({one.address: str(one.state) for one in OutboxRecipient.objects.all()}))
