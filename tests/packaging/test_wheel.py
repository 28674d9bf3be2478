"""What users get."""

import email
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("dist")
    command = [str(ROOT / "tools" / "uv"), "build", "--wheel", "--out-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    """Data, templates, types and migrations too; no test, no demo."""
    ours = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert packed == ours
    assert "reliable_email/py.typed" in packed


def test_wheel_carries_licence_and_requires_django_and_idna_alone(wheel: zipfile.ZipFile) -> None:
    """Everything else is asked for by an extra."""
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    message = email.message_from_bytes(wheel.read(metadata))
    core = [need for need in message.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert [need.partition(">")[0].lower() for need in core] == ["django", "idna"]
    assert any(name.endswith("LICENSE") for name in wheel.namelist())
