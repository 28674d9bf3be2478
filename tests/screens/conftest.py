"""A site for each test, with tables that were made once."""

import shutil
from pathlib import Path

import pytest

from tests.screens.terminal import Site


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's empty database."""
    folder = tmp_path_factory.mktemp("screens")
    done = Site(folder).run("migrate", "-v0")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(migrated: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(migrated, tmp_path / "site"))


@pytest.fixture
def site(folder: Path) -> Site:
    """A site whose route leads nowhere."""
    return Site(folder)
