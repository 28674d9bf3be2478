"""What users get."""

import email
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import reliable_email
from tests.packaging.conftest import ROOT, build

SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    """The built wheel."""
    (file,) = dist.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """What an index of packages shows."""
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


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


def test_wheel_carries_licence_and_requires_django_and_idna_alone(wheel: zipfile.ZipFile, metadata: Message) -> None:
    """Everything else is asked for by an extra."""
    core = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert [need.partition(">")[0].lower() for need in core] == ["django", "idna"]
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_the_description_is_whole_where_the_files_are_not_beside_it(metadata: Message) -> None:
    """On the index of packages every link and picture is absolute, and leads to a file of this version."""
    description = metadata.get_payload()
    assert isinstance(description, str)
    targets = re.findall(r"\]\(([^()\s]+)\)", description)
    begin = f"{PROJECT['urls']['Repository']}/"
    assert len(targets) > 10
    for target in targets:
        assert target.startswith(begin), target
        kind, tag, name = target.removeprefix(begin).split("/", 2)
        assert kind == ("raw" if name.endswith(".png") else "blob")
        assert tag == f"v{reliable_email.__version__}"
        assert (ROOT / name.partition("#")[0]).is_file(), name
    assert {one.partition(",")[0] for one in metadata.get_all("Project-URL", [])} == set(PROJECT["urls"])


def test_source_distribution_has_the_tests_and_the_documentation(dist: Path) -> None:
    """And whatever else git knows, so that a distribution can check what it packs."""
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if known.returncode:
        pytest.skip("not in a clone")
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    missing = {name for name in known.stdout.splitlines() if (ROOT / name).exists()} - packed
    assert missing == {".gitignore"}


def test_a_wheel_is_built_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an unpacked source distribution, on a machine that has none."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in os.get_exec_path():
        for one in Path(folder).glob("*"):
            if one.name != "git" and not (programs / one.name).exists():
                (programs / one.name).symlink_to(one)
    monkeypatch.setenv("PATH", str(programs))
    command = [sys.executable, str(ROOT / "tools" / "build.py"), "--wheel", "--out", str(tmp_path / "dist")]
    subprocess.run(command, check=True, capture_output=True)
    assert list((tmp_path / "dist").glob("*.whl"))


def test_two_builds_are_equal(dist: Path, tmp_path: Path) -> None:
    """Byte for byte, so that anybody can check what was published."""
    again = build(tmp_path / "again")
    hashes = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("django_*")}
        for folder in (dist, again)
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 3


def test_the_list_of_dependencies_is_that_of_the_lock(dist: Path) -> None:
    """CycloneDX, with a hash of each file, and without the tools of development."""
    (file,) = dist.glob("*.cdx.json")
    found = json.loads(file.read_text("utf-8"))
    assert (found["bomFormat"], found["metadata"]["component"]["version"]) == ("CycloneDX", reliable_email.__version__)
    names = {one["name"] for one in found["components"]}
    assert {"django", "idna", "rich", "cryptography"} <= names
    assert not {"pytest", "mypy", "zensical", "twine"} & names
    assert all(one["externalReferences"][0]["hashes"] for one in found["components"] if one["name"] == "django")


def test_every_place_names_one_version() -> None:
    """The module, the metadata and the newest entry of the changelog."""
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == reliable_email.__version__ == PROJECT["version"]
