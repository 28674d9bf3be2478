"""What the pages tell people to put into their settings is accepted by this package's own checks."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.core.checks import CheckMessage, Error
from django.test.utils import override_settings
from django.utils.module_loading import import_string

from reliable_email import checks, conf, env
from tests.docs.pages import Block, blocks, pages

_ALL = [block for page in pages() for block in blocks(page)]
_PYTHON = [block for block in _ALL if block.language == "python"]
_SETTINGS = [block for block in _PYTHON if re.search(r"^(MAILERS|RELIABLE_EMAIL|EMAIL_\w+)\b.*=", block.text, re.M)]
_ENVIRONMENTS = [block for block in _ALL if block.title == "environment"]
_LOCAL = {"OPTIONS": {"host": "localhost"}}
_APPS = ["django.contrib.contenttypes", "reliable_email"]
# A site without MAILERS.
_ON_EMAIL_NAMES = 'EMAIL_BACKEND = "reliable_email.backends.ReliableSMTPBackend"'
# A setting that only older Djangos may have, on pages that say so.
_BEFORE_61 = {"EMAIL_BACKEND"}


class Environ(dict[str, str]):
    """An environment in which every variable has a value."""

    def __missing__(self, name: str) -> str:
        return f"value-of-{name.lower()}"


class Noted(dict[str, str]):
    """An environment that notes which of its variables were asked for."""

    def __init__(self, values: dict[str, str], read: set[str]) -> None:
        super().__init__(values)
        self._read = read

    def get(self, name: str, default: Any = None) -> Any:
        """A variable."""
        if name in self:
            self._read.add(name)
        return super().get(name, default)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A file that stands for each one that a page names under /etc."""
    file = tmp_path / "file.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    return file


def loaded(block: Block, file: Path) -> dict[str, Any]:
    """The block as a settings module would have it; pieces of one page that build on each other are taken together."""
    text = re.sub(r'"/etc/[^"]*"', repr(str(file)), block.text)
    before = ""
    if re.search(r"^MAILERS\[", text, re.M) or block.text.strip().startswith("EMAIL_BACKEND"):
        earlier = [one for one in _SETTINGS if one.page == block.page and one.line < block.line]
        before = "\n".join(one.text for one in earlier if not one.text.strip().startswith("EMAIL_BACKEND"))
    namespace: dict[str, Any] = {
        "os": SimpleNamespace(environ=Environ()),
        "reliable_email": SimpleNamespace(env=SimpleNamespace(mailers=lambda **options: env.mailers({}, **options))),
        # Where a page shows urls.py beside it.
        "path": lambda *arguments, **options: None,
        "include": lambda *arguments: None,
        "DEBUG": False,
        "INSTALLED_APPS": list(_APPS),
    }
    exec(compile(f"{before}\n{text}", block.place, "exec"), namespace)
    found = {name: value for name, value in namespace.items() if name.isupper()}
    if not block.text.startswith(_ON_EMAIL_NAMES):
        # A piece about something else says nothing of mailers.
        found.setdefault("MAILERS", {"default": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", **_LOCAL}})
    found["INSTALLED_APPS"] = [app for app in dict.fromkeys(found["INSTALLED_APPS"]) if app in _APPS]
    return found


def problems(settings: dict[str, Any]) -> list[CheckMessage]:
    """What the checks say of a site with these settings."""
    if django.VERSION < (6, 1):
        settings = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer", **settings}
    else:
        settings = {name: value for name, value in settings.items() if name not in _BEFORE_61}
    settings = {name: value for name, value in settings.items() if name not in ("DATABASES", "LOGGING")}
    with override_settings(**settings):
        conf.get()
        return checks.configuration_messages()


# django-anymail says so of SendGrid; with warnings as errors, a mailer that warns cannot be built.
@pytest.mark.filterwarnings("ignore:django-anymail has dropped official support")
@pytest.mark.parametrize("block", _SETTINGS, ids=lambda block: block.place)
def test_settings_are_without_a_fault(block: Block, files: Path) -> None:
    """No error, no unknown key or option, and no warning either but that mail is only shown."""
    if block.text.startswith(_ON_EMAIL_NAMES) and django.VERSION >= (6, 1):
        pytest.skip("for settings that Django has deprecated since")
    found = [one for one in problems(loaded(block, files)) if one.id != "reliable_email.W005"]
    assert found == [], block.text


@pytest.mark.parametrize("block", _ENVIRONMENTS, ids=lambda block: block.place)
def test_environments_are_without_a_fault(block: Block) -> None:
    """As `env.mailers()` reads them."""
    environ = dict(line.split("=", 1) for line in block.text.splitlines() if line)
    unknown = [name for name in environ if not re.fullmatch(r"EMAIL_[A-Z_]+", name)]
    assert unknown == []
    read: set[str] = set()
    entries = env.mailers(Noted(environ, read), debug=False)
    assert read == set(environ), "a name that nobody reads"
    assert [one for one in problems({"MAILERS": entries}) if isinstance(one, Error)] == []


@pytest.mark.parametrize("block", _PYTHON, ids=lambda block: block.place)
def test_python_is_python(block: Block) -> None:
    """What is no settings at least compiles."""
    text = block.text
    if text.lstrip().startswith('"'):
        text = f"{{{text}}}"  # a piece of a dict
    ast.parse(text, block.place)


@pytest.mark.skipif(django.VERSION < (6, 1), reason="the page has another line for older versions of Django")
@pytest.mark.parametrize("block", [one for one in _SETTINGS if "LOGGING" in one.text], ids=lambda block: block.place)
def test_logging_makes_the_handler_that_the_page_speaks_of(block: Block, files: Path) -> None:
    """Built as `logging.config` builds it, without being put in place."""
    handlers = loaded(block, files)["LOGGING"]["handlers"]
    entry = {name: value for name, value in handlers["mail_admins"].items() if name != "level"}
    handler = import_string(entry.pop("class"))(**entry)
    assert handler.using in loaded(block, files)["MAILERS"]


def test_the_checks_see_the_blocks() -> None:
    """A wrong block would be noticed."""
    assert len(_SETTINGS) > 25
    assert len(_ENVIRONMENTS) >= 4
    block = _SETTINGS[0]
    wrong = Block(
        page=block.page,
        line=block.line,
        language="python",
        title="settings.py",
        text='MAILERS = {"default": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": '
        '{"hosst": "x"}}}\nRELIABLE_EMAIL = {"LEASE": 1}\n',
    )
    assert {one.id for one in problems(loaded(wrong, block.page))} >= {"reliable_email.E002", "reliable_email.E015"}


_WITH_MAILERS = sorted({one.page for one in _SETTINGS if "MAILERS" in one.text})


@pytest.mark.parametrize("page", _WITH_MAILERS, ids=lambda page: page.name)
def test_page_says_what_older_djangos_need(page: Path) -> None:
    """Django 5.2 and 6.0 ignore MAILERS: whoever arrives at this page first must read it here."""
    assert "reliable_email.backends.DefaultMailer" in page.read_text("utf-8")


@pytest.mark.parametrize("block", _PYTHON, ids=str)
def test_no_block_writes_a_value_that_goes_nowhere(block: Block) -> None:
    """`(path(…),)` by itself is what a formatter makes of `path(…),`; whoever pastes it has no page."""
    try:
        tree = ast.parse(block.text)
    except SyntaxError:
        return  # a piece of a dict, which other tests read in its place
    lost = [
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Tuple | ast.List | ast.Dict)
    ]
    assert lost == []
