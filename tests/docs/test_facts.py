"""What the pages say in passing is still so."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from reliable_email import conf
from reliable_email.diagnosis import configuration
from tests.docs.pages import DOCS, ROOT, pages

SOURCE = ROOT / "src" / "reliable_email"
_DOTTED = re.compile(r"\breliable_email(?:\.[A-Za-z_]\w*)+\b")
_TIMES = re.compile(r"(?:TimeoutStopSec=|stop_grace_period: |terminationGracePeriodSeconds: )(\d+)")
_PERMISSIONS = {
    "reliable_email.view_outboxmessage",
    "reliable_email.act_on_outbox",
    "reliable_email.read_content",
    "reliable_email.erase_person",
    "reliable_email.export_person",
}
_TASKS = {"reliable_email.sweep", "reliable_email.maintain"}  # names of tasks, not of modules


def names() -> set[tuple[Path, str]]:
    """Every dotted name of this package on every page."""
    return {(page, name) for page in pages() for name in _DOTTED.findall(page.read_text("utf-8"))}


def is_there(name: str) -> bool:
    """Whether a dotted name leads to a module or to something in one."""
    first, *rest = name.split(".")
    found = import_module(first)
    path = first
    for part in rest:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = import_module(path)
            except ImportError:
                return False
    return True


def test_every_dotted_name_exists() -> None:
    """Backends, functions, modules; and ids of checks, which look alike."""
    known = configuration.__doc__ or ""
    wrong = [
        (page.name, name)
        for page, name in names()
        if not re.fullmatch(r"reliable_email\.[EWI]\d{3}", name)
        and name
        not in _PERMISSIONS
        | _TASKS
        # a logger; needs Django 6.0; a model's label
        | {"reliable_email.events", "reliable_email.integrations.tasks", "reliable_email.OutboxMessage"}
        and not is_there(name)
    ]
    assert wrong == []
    ids = {name for _, name in names() if re.fullmatch(r"reliable_email\.[EWI]\d{3}", name)}
    assert [name for name in ids if name not in known] == []


def test_every_key_that_is_named_exists() -> None:
    """Words in capitals with one of the beginnings that keys of RELIABLE_EMAIL have."""
    keys = {name.upper() for name in conf.Settings.__dataclass_fields__}
    begin = "|".join(sorted({key.partition("_")[0] for key in keys if "_" in key}))
    named = {
        (page.name, name)
        for page in pages()
        for name in re.findall(rf"`((?:{begin})_[A-Z_]+)`", page.read_text("utf-8"))
    }
    assert len(named) > 15
    assert [one for one in named if one[1] not in keys] == []


def test_every_extra_that_is_named_exists() -> None:
    """`pip install django-reliable-email[…]`."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = {
        (page.name, name)
        for page in pages()
        for name in re.findall(r"django-reliable-email\[(\w+)\]", page.read_text("utf-8"))
    }
    assert len(named) > 3
    assert [one for one in named if one[1] not in extras] == []


@pytest.mark.parametrize("page", ["docs/explanation/architecture.md", "CONTRIBUTING.md"])
def test_the_house_has_the_rooms_that_the_linter_knows(page: str) -> None:
    """All of them, from the roof to the floor."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one["id"] == "direction"]
    rooms = [set(re.findall(r"\w+", one)) for one in layers]
    text = (ROOT / page).read_text("utf-8")
    if page.endswith("architecture.md"):
        table = text.partition("\n| room |")[2].partition("\n\n")[0]
        lines = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    else:
        block = text.partition("\n## Rooms")[2].split("```")[1]
        lines = [re.findall(r"\w+", re.split(r" {2,}", line)[0]) for line in block.strip().splitlines()]
        rooms = [one for one in rooms if one != {"testing"}]  # the text tells where it stands
    order = [room for line in lines for room in line]
    assert sorted(order) == sorted(room for layer in rooms for room in layer)
    # No line may hold what a line above it holds a lower layer of.
    depth = {room: at for at, layer in enumerate(rooms) for room in layer}
    tops = [min(depth[room] for room in line) for line in lines]
    assert tops == sorted(tops)


def test_each_walk_fits_a_screen_and_names_what_exists() -> None:
    """Whoever follows a message finds each file, and beside it each function, without scrolling in the page."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    for how in ("sent directly", "queued"):
        walk = text.partition(f"\n## A message that is {how}\n")[2].partition("\n## ")[0]
        assert 20 < len(walk.splitlines()) <= 45
        files = re.findall(r"`([\w/]+\.py)`", walk)
        assert [name for name in files if not (SOURCE / name).is_file()] == []
        for name, called in re.findall(r"`([\w/]+\.py)`, `(?:\w+\.)?(\w+)\(\)`", walk):
            assert f"def {called}(" in (SOURCE / name).read_text("utf-8"), f"{name} has no {called}()"


@pytest.mark.parametrize("name", ["how-to/run-the-worker.md"])
def test_services_wait_longer_than_a_worker_takes_to_stop(name: str) -> None:
    """Else a message in hand is killed in the middle."""
    times = [int(one) for one in _TIMES.findall((DOCS / name).read_text("utf-8"))]
    assert len(times) == 3
    assert min(times) > conf.Settings().stop_seconds
