"""reset() forgets what every loaded module has registered, and imports nothing for it."""

import importlib
import pkgutil
import subprocess
import sys
from types import FunctionType

import pytest

import reliable_email
from reliable_email import process_state
from reliable_email.testing import actions
from reliable_email.testing.reset import reset

_NOT_OURS = ("reliable_email.testing", "reliable_email.migrations", "reliable_email.integrations.health_check")


def test_what_was_remembered_last_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's connections may teach the modules below something while they are closed."""
    calls: list[str] = []
    monkeypatch.setattr(process_state, "_states", [])
    process_state.remember("below", reset=lambda: calls.append("below"))
    process_state.remember("nothing to forget", after_fork=lambda: None)
    process_state.remember("above", reset=lambda: calls.append("above"))
    reset()
    assert calls == ["above", "below"]


def test_every_module_that_can_be_reset_has_registered_that() -> None:
    """Whoever adds one is told here."""
    for found in pkgutil.walk_packages(reliable_email.__path__, "reliable_email."):
        if found.name.startswith(_NOT_OURS) or found.name == "reliable_email.process_state":
            continue
        try:
            module = importlib.import_module(found.name)
        except ImportError:  # a package that this Django or this machine does not have
            continue
        forget = getattr(module, "reset", None)
        if isinstance(forget, FunctionType) and forget.__module__ == found.name:
            registered = {state.name for state in process_state.remembered() if state.reset is not None}
            assert found.name in registered


def test_action_of_the_same_name_is_not_called() -> None:
    """`reset` of the scripted server's actions is a class that stays what it is."""
    before = actions.reset()
    reset()
    assert actions.reset() == before


def test_importing_and_calling_needs_no_other_module() -> None:
    """Beside `testing`, only the registry and the makers of dataclasses are loaded by it; neither Django nor pytest."""
    code = (
        "import sys\n"
        "from reliable_email.testing.reset import reset\n"
        "reset()\n"
        "loaded = [m for m in sys.modules if m.partition('.')[0] in {'django', 'pytest', 'cryptography'}\n"
        "          or m.startswith('reliable_email.') and not m.startswith(('reliable_email.testing',"
        "'reliable_email.process_state', 'reliable_email.records'))]\n"
        "assert loaded == [], loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
