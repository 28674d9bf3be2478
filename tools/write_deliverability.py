"""Writes docs/deliverability.md anew: .venv/bin/python tools/write_deliverability.py."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django

django.setup()

from tests.diagnosis.dns_document import FILE, document  # noqa: E402

FILE.write_text(document())
print(f"wrote {FILE}")
