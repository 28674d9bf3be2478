"""docs/reference says what the code says."""

import re

import pytest

import reliable_email
from reliable_email.diagnosis import configuration
from tests.docs.pages import DOCS, ROOT
from tools.reference import PAGES, rooms


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_would_write(name: str) -> None:
    """`make docs` writes it anew."""
    assert (DOCS / "reference" / name).read_text("utf-8") == PAGES[name]()


def test_the_picture_of_the_rooms_shows_the_imports_of_today() -> None:
    """`make docs` draws it anew."""
    assert rooms.FILE.read_text("utf-8") == rooms.picture()


def test_no_other_page_is_there() -> None:
    """What was renamed leaves nothing behind."""
    assert {page.name for page in (DOCS / "reference").iterdir()} == set(PAGES)


def test_every_id_of_a_check_is_explained_once() -> None:
    """The table has those that the code uses, and no other."""
    listed = re.findall(r"^\| reliable_email\.(\w+) ", PAGES["checks.md"](), re.MULTILINE)
    used = set()
    for file in (ROOT / "src" / "reliable_email").rglob("*.py"):
        text = re.sub(r'^""".*?"""', "", file.read_text("utf-8"), flags=re.DOTALL)
        used |= set(re.findall(r'id="reliable_email\.([EWI]\d{3})"', text))
    used |= set(configuration._PROBLEM_IDS.values()) | {"E015", "E016"}
    assert sorted(listed) == sorted(used)


def test_every_public_name_is_documented() -> None:
    """What `reliable_email` exports is on the page about Python."""
    page = PAGES["python.md"]()
    assert [name for name in reliable_email.__all__ if not re.search(rf"\b{name}\b", page)] == []
