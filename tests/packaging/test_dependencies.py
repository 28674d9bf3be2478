"""The core works where Django is all that is installed."""

import subprocess
import sys

# What an extra brings is refused, as if it were not installed; then everything is imported.
_PROGRAM = """
import importlib, pkgutil, sys

ALLOWED = {"django", "asgiref", "sqlparse", "typing_extensions", "reliable_email", "tests", "_pytest"}

class DjangoAlone:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top.startswith("_sysconfigdata"):  # the standard library's own, named for the platform
            return
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, DjangoAlone())

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.contenttypes", "reliable_email"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

import reliable_email

for module in pkgutil.walk_packages(reliable_email.__path__, "reliable_email."):
    # An integration is for those who have what it integrates, the admin for those who have the admin, a rich screen for
    # those who have rich, metrics and traces for those who have a monitor; servers for tests need certificates. Only
    # `testing.reset` promises to need nothing.
    apart = (
        "reliable_email.integrations.",
        "reliable_email.admin",
        "reliable_email.management.screens.rich_",
        "reliable_email.monitoring.metrics",
        "reliable_email.monitoring.tracing",
        "reliable_email.testing.",
    )
    if module.name.startswith(apart) and module.name != "reliable_email.testing.reset":
        continue
    importlib.import_module(module.name)
    print(module.name)
"""


def test_every_module_is_imported_without_any_extra() -> None:
    """Extras are imported where they are used, not before."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "reliable_email.smtp.protocol.session" in done.stdout.split()
    assert "reliable_email.views.metrics" in done.stdout.split()
