"""reset() calls every loaded module's own reset, and imports nothing for it."""

import subprocess
import sys
from types import FunctionType, ModuleType

import pytest

from reliable_email.testing import actions
from reliable_email.testing.reset import reset

calls: list[str] = []


def module_with_reset(name: str) -> ModuleType:
    """A loaded module of the package with a `reset` of its own."""
    module = ModuleType(name)
    module.__dict__["calls"] = calls
    exec(f"def reset():\n    calls.append({name!r})", module.__dict__)
    assert isinstance(module.__dict__["reset"], FunctionType)
    return module


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Two modules with state, one that has imported the reset of another, one whose reset is for something else."""
    calls.clear()
    made = {name: module_with_reset(name) for name in ("reliable_email.zeta", "reliable_email.alpha", "foreign")}
    borrower = ModuleType("reliable_email.borrower")
    borrower.__dict__["reset"] = made["reliable_email.alpha"].__dict__["reset"]
    other = ModuleType("reliable_email.other")
    exec("def reset(thing):\n    raise AssertionError", other.__dict__)
    for name, module in {**made, "reliable_email.borrower": borrower, "reliable_email.other": other}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def test_every_module_is_reset_once(modules: dict[str, ModuleType]) -> None:
    """Those of the package, each once, though others have imported its function."""
    reset()
    assert [name for name in calls if name in modules] == ["reliable_email.alpha", "reliable_email.zeta"]


def test_action_of_the_same_name_is_not_called() -> None:
    """`reset` of the scripted server's actions is a class that stays what it is."""
    before = actions.reset()
    reset()
    assert actions.reset() == before


def test_importing_and_calling_needs_django_alone() -> None:
    """Nothing of the package but `testing` is loaded by it, nor Django, nor pytest, nor cryptography."""
    code = (
        "import sys\n"
        "from reliable_email.testing.reset import reset\n"
        "reset()\n"
        "loaded = [m for m in sys.modules if m.partition('.')[0] in {'django', 'pytest', 'cryptography'}\n"
        "          or m.startswith('reliable_email.') and not m.startswith('reliable_email.testing')]\n"
        "assert loaded == [], loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
