"""A cell: this machine's programs and an unpacked package in one file system, with processes of its own.

A server that was never installed finds its files where it was built to look for them, what it writes stays in the
cell's folder, and the users that it needs exist there alone. One SIGKILL ends all of its processes at the same moment.
Ports are the machine's own. Needs root, for the namespaces.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

_LAYERED = ("usr", "etc")
_SETUP = """\
set -e
cd "$CELL"
for name in usr etc; do
  layers="lowerdir=$LOWER/$name:/$name,upperdir=$CELL/upper/$name,workdir=$CELL/work/$name"
  mount -t overlay cell -o "$layers" "root/$name"
done
mount -t proc proc root/proc
mount --rbind /dev root/dev
chroot root /bin/sh /start
"""


def missing() -> str | None:
    """Return why no cell can be made here, or None."""
    if os.geteuid():
        return "only root may make namespaces"
    if shutil.which("unshare") is None:
        return "no unshare"
    probe = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "mount", "-t", "tmpfs", "probe", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"no namespaces here: {done.stderr.strip()}" if done.returncode else None


class Cell:
    """The file system of one server, kept over its restarts.

    Args:
        folder: where it is kept; other users must be able to enter it.
        package: the folder of the unpacked package; None for what this machine has installed.
    """

    def __init__(self, folder: Path, package: Path | None = None) -> None:
        self.root = folder / "root"
        self._folder = folder
        self._package = package or folder / "nothing"
        self._process: subprocess.Popen[bytes] | None = None
        for name in _LAYERED:
            for layer in (folder / "upper", folder / "work", self.root, self._package):
                (layer / name).mkdir(parents=True, exist_ok=True)
        for name in ("proc", "dev", "run", "tmp", "root"):
            (self.root / name).mkdir()
        (self.root / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        if (self._package / "var").is_dir():
            shutil.copytree(self._package / "var", self.root / "var", symlinks=True)
        for name in ("var/tmp", "var/log", "var/spool", "var/lib", "var/mail"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "var" / "tmp").chmod(0o1777)
        (self.root / "var" / "run").symlink_to("/run")
        self._ids = 700
        for name in ("passwd", "group"):
            shutil.copy(f"/etc/{name}", folder / "upper" / "etc" / name)
        # Names are looked up in its files alone; a server that asks for its own name waits for nobody.
        host = socket.gethostname().partition(".")[0]
        self.write("/etc/hosts", f"127.0.0.1 localhost.localdomain localhost {host}.localdomain {host}\n")
        self.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    def file(self, path: str) -> Path:
        """Return where the cell's absolute path is kept; files of /usr and /etc must not change while it runs."""
        first, _, rest = path.lstrip("/").partition("/")
        return (self._folder / "upper" / first if first in _LAYERED else self.root / first) / rest

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file into it, with the folders above."""
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def make_folder(self, path: str, owner: tuple[int, int] = (0, 0), mode: int = 0o755) -> Path:
        """Make a folder in it."""
        folder = self.file(path)
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, *owner)
        folder.chmod(mode)
        return folder

    def add_user(self, name: str, home: str = "/") -> tuple[int, int]:
        """Add a user and its group that exist in this cell alone; return their numbers."""
        self._ids += 1
        with self.file("/etc/group").open("a") as groups:
            groups.write(f"{name}:x:{self._ids}:\n")
        with self.file("/etc/passwd").open("a") as users:
            users.write(f"{name}:x:{self._ids}:{self._ids}::{home}:/bin/sh\n")
        return self._ids, self._ids

    def own(self, path: str, owner: tuple[int, int]) -> None:
        """Give a folder of it, and all below, to a user."""
        for one in [self.file(path), *self.file(path).rglob("*")]:
            os.chown(one, *owner, follow_symlinks=False)

    def start(self, script: str, log: Path) -> None:
        """Run a shell script in it until it is killed; what it prints goes into the log."""
        (self.root / "start").write_text(script)
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", _SETUP]
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CELL": str(self._folder),
            "LOWER": str(self._package),
        }
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """True while its first process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End every process of it at once, as a machine that loses its power would."""
        if self._process is None:
            return
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError, ValueError, IndexError):
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(10)
        self._process = None
