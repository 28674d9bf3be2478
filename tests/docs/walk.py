"""Follows the tutorial as a reader does: one terminal that remembers, a second one for the server, an editor."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from tests.docs.pages import Block

_DONE = "--- done"
# Run in Django's shell: what follows `>>>` on the page is typed, what it prints is compared.
_TYPIST = """\
import doctest
parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
runner.run(parser.get_doctest(open({file!r}, encoding="utf-8").read(), {{}}, {place!r}, {file!r}, 0))
print("examples", runner.summarize(verbose=False))
"""
# Variables of this test run that a reader does not have.
_OURS = ("PYTEST", "DJANGO", "RELIABLE", "VIRTUAL_ENV", "PYTHON", "EMAIL", "COVERAGE", "UV_")
_ALIKE = (
    (re.compile(r"\bin \d+\.\d\ds\b"), "in 0.01s"),
    (re.compile(r"\bworker \S+:\d+:[0-9a-f]+"), "worker NAME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00:00"), "MOMENT"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "MINUTE"),
    (re.compile(r"<[^<>\s]+@[^<>\s]+>"), "<MESSAGE-ID>"),
    (re.compile(r"\b\d+ s\b"), "5 s"),
    (re.compile(r"\b\d+\.\d{3} s\b"), "0.001 s"),
    (re.compile(r"\b\d+ bytes\b"), "430 bytes"),
    (re.compile(r"^tables \d.*$", re.MULTILINE), "tables 188 KB"),
    (re.compile(r"queued as \d+-\d+"), "queued as 1-1"),
)


def alike(text: str) -> str:
    """What differs from run to run made alike: times, names of machines, Message-IDs, sizes."""
    for pattern, word in _ALIKE:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


class Reader:
    """A terminal, and a folder in which it was opened."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._shell = self._open(folder)

    def _open(self, folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, commands: str) -> str:
        """What the commands print.

        Raises:
            AssertionError: one of them failed.
        """
        assert self._shell.stdin
        assert self._shell.stdout
        # Each command gets an empty standard input: none may read what is typed behind it.
        self._shell.stdin.write(f"set -e\n{{ {commands.rstrip()}\n}} </dev/null\necho '{_DONE}'\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(_DONE):
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"failed:\n{commands}\n{''.join(printed)}")

    def type_in_shell(self, block_text: str, place: str) -> str:
        """What differs between the lines of an interactive session and what really comes; "" where nothing does."""
        file = self._folder / "typed.txt"
        file.write_text(block_text, "utf-8")
        program = self._folder / "typist.py"
        program.write_text(_TYPIST.format(file=str(file), place=place), "utf-8")
        said = self.type(f"python manage.py shell --verbosity 0 -c \"$(cat '{program}')\"")
        return "" if "examples TestResults(failed=0, attempted=" in said else said

    @property
    def here(self) -> Path:
        """The folder that the terminal is in."""
        return Path(self.type("pwd").strip())

    @contextlib.contextmanager
    def second_terminal(self, commands: str) -> Iterator[list[str]]:
        """Another terminal in the same folder; the lines that it has shown so far."""
        other = self._open(self.here)
        assert other.stdin
        assert other.stdout
        *before, last = commands.strip().splitlines()
        other.stdin.write("\n".join([*before, f"exec {last}", ""]))
        other.stdin.close()
        shown: list[str] = []
        begun = threading.Event()

        def read() -> None:
            assert other.stdout
            for line in other.stdout:
                shown.append(line)
                begun.set()

        reading = threading.Thread(target=read)
        reading.start()
        try:
            assert begun.wait(30), "the second terminal says nothing"
            yield shown
        finally:
            other.terminate()
            reading.join()
            other.stdout.close()
            other.wait()

    def close(self) -> None:
        """Leave the terminal."""
        if self._shell.stdin and self._shell.stdout:
            self._shell.stdin.close()
            self._shell.stdout.close()
        self._shell.wait()


def steps(found: list[Block]) -> list[tuple[str, list[Block]]]:
    """The blocks in order, neighbours of one kind together: "sh", "pycon", "text", "edit", "second"."""
    return [(kind, list(group)) for kind, group in groupby(found, key=_kind)]


def _kind(block: Block) -> str:
    if block.title == "second terminal":
        return f"second {block.language}"
    return "edit" if block.language == "python" else block.language


def environment(folder: Path, wheel: Path, django_version: str) -> dict[str, str]:
    """A reader's: `python3` is this interpreter, and pip gets our package from its wheel."""
    programs = folder / "programs"
    programs.mkdir()
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec "{getattr(sys, "_base_executable", sys.executable)}" "$@"\n')
    python.chmod(0o755)
    constraints = folder / "constraints.txt"
    constraints.write_text(f"django-reliable-email @ {wheel.as_uri()}\nDjango=={django_version}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PIP_CONSTRAINT": str(constraints),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }
