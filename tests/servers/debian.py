"""Debian's mail servers exclude each other, so each is unpacked into a folder of its own and never installed.

`python -m tests.servers.debian [PACKAGE ...]` fetches what is missing. A server's own dependencies come with it; what
this machine has already is not fetched again.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

UNPACKED = Path(__file__).resolve().parents[2] / "var" / "servers" / "debian"
PACKAGES = ("exim4-daemon-light", "courier-mta", "opensmtpd", "sendmail-bin", "qpsmtpd")
_SECONDS = 300
_NEW = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)


class CannotUnpack(RuntimeError):
    """The package or one of its dependencies could not be fetched; the text says why."""


def folder_of(package: str) -> Path:
    """Return where a package is unpacked."""
    return UNPACKED / package


def missing(package: str) -> str | None:
    """Return why a package cannot be used, or None where it is unpacked."""
    if folder_of(package).is_dir():
        return None
    return f"{package} is not unpacked: python -m tests.servers.debian {package}"


def unpack(package: str) -> str:
    """Fetch a package with the dependencies that this machine lacks, and unpack all of them into one folder.

    Returns:
        What was done, in a word.

    Raises:
        CannotUnpack: apt does not know it, or cannot fetch it.
    """
    target = folder_of(package)
    if target.is_dir():
        return "unpacked"
    work = target.with_suffix(".part")
    try:
        is_new = _download(package, work / "debs")
    except CannotUnpack:
        _run(["apt-get", "update", "-q"], Path("/"))  # its lists are missing, or older than the archive
        is_new = _download(package, work / "debs")
    if not is_new:
        shutil.rmtree(work)
        return "installed on this machine itself, and used from there"
    for archive in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg", "-x", str(archive), str(work)], work)
    shutil.rmtree(work / "debs")
    _merge_usr(work)
    work.rename(target)
    return "fetched and unpacked"


def _download(package: str, folder: Path) -> bool:
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    planned = _run(["apt-get", "-s", "install", "--no-install-recommends", package], Path("/"))
    wanted = [f"{name}={version}" for name, version in _NEW.findall(planned)]
    if wanted:
        # The user "_apt" may not be allowed to write below a checkout.
        _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *wanted], folder)
    return bool(wanted)


def _merge_usr(folder: Path) -> None:
    """Move /lib, /bin and /sbin below /usr, where they are on every Debian since 12."""
    for name in ("lib", "bin", "sbin"):
        if (folder / name).is_dir():
            shutil.copytree(folder / name, folder / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder / name)
    for name in ("usr", "etc", "var"):
        (folder / name).mkdir(exist_ok=True)


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotUnpack(f"{' '.join(command[:3])}: {error}") from error
    if done.returncode:
        raise CannotUnpack(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def main(packages: Sequence[str]) -> int:
    """Unpack each; return 1 where one could not be."""
    failed = 0
    for package in packages or PACKAGES:
        try:
            sys.stdout.write(f"{package}: {unpack(package)}\n")
        except CannotUnpack as error:
            failed = 1
            sys.stderr.write(f"{package}: {error}\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
