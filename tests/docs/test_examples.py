"""The tests that the pages show are tests that pass."""

import os
import subprocess
import sys
from pathlib import Path

import django
import pytest

from tests.docs.pages import DOCS, blocks


@pytest.mark.skipif(django.VERSION < (6, 1), reason="the page says what to add on older versions of Django")
def test_the_tests_of_a_users_app_pass(tmp_path: Path) -> None:
    """In a project of their own, with the fixtures that pytest finds."""
    (block,) = [one for one in blocks(DOCS / "how-to" / "test-your-app.md") if one.title == "test_orders.py"]
    (tmp_path / "test_orders.py").write_text(block.text, "utf-8")
    (tmp_path / "site_settings.py").write_text("SECRET_KEY = 'x'\nINSTALLED_APPS = []\n", "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = site_settings\npythonpath = .\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
