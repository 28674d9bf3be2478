"""Writes docs/reference anew: .venv/bin/python tools/write_reference.py."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django  # noqa: E402

django.setup()

from tools.reference import PAGES, llms, pictures, rooms  # noqa: E402

FOLDER = ROOT / "docs" / "reference"

FOLDER.mkdir(exist_ok=True)
for name, page in PAGES.items():
    (FOLDER / name).write_text(page(), "utf-8")
    print(f"wrote {FOLDER / name}")
rooms.FILE.write_text(rooms.picture(), "utf-8")
print(f"wrote {rooms.FILE}")
for name, draw in pictures.PICTURES.items():
    (pictures.FOLDER / name).write_text(draw(), "utf-8")
    print(f"wrote {pictures.FOLDER / name}")
llms.FILE.write_text(llms.text(), "utf-8")
print(f"wrote {llms.FILE}")
