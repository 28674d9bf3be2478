"""Builds what is published, into dist/: the wheel, the source distribution, and the list of what they depend on.

`make build`. Two builds of one commit are equal, byte for byte: only files that git knows go in.
The README's links, which are relative so that they work in a clone, become absolute ones, since the index of packages
shows the README without the files around it.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^()\s]+)\)")


def main() -> int:
    """Build everything; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the files go (dist)")
    parser.add_argument("--wheel", action="store_true", help="the wheel alone")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    with tempfile.TemporaryDirectory(prefix="build-") as folder:
        stage = Path(folder) / "source"
        _copy(stage)
        readme = stage / "README.md"
        readme.write_text(with_absolute_links(readme.read_text("utf-8"), project), "utf-8")
        made_at = _commit_time()
        kind = ["--wheel"] if options.wheel else []
        _uv(stage, "build", "--quiet", *kind, "--out-dir", str(options.out.resolve()), made_at=made_at)
        if not options.wheel:
            name = f"{project['name'].replace('-', '_')}-{project['version']}.cdx.json"
            (options.out / name).write_text(_dependencies(stage, made_at), "utf-8")
    for file in sorted(options.out.glob("django_*")):
        print(f"{file.stat().st_size:>9,} bytes  {file.name}")
    return 0


def with_absolute_links(text: str, project: dict[str, Any]) -> str:
    """The README as the index of packages can show it."""
    repository = project["urls"]["Repository"].rstrip("/")
    tag = f"v{project['version']}"

    def absolute(found: re.Match[str]) -> str:
        sign, words, target = found.groups()
        kind = "raw" if sign else "blob"
        return f"{sign}[{words}]({repository}/{kind}/{tag}/{target})"

    return _LINK.sub(absolute, text)


def _copy(stage: Path) -> None:
    """The files that git knows, as they are now; outside a clone (an unpacked source distribution) all files."""
    known = _git("ls-files", "-z")
    if known is None:
        shutil.copytree(ROOT, stage, ignore=shutil.ignore_patterns(".*", "dist", "var", "__pycache__", "node_modules"))
        return
    for name in filter(None, known.split("\0")):
        source, target = ROOT / name, stage / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _commit_time() -> int:
    """Seconds since 1970; 1980 outside a clone, which is the earliest that an archive can have."""
    said = _git("log", "-1", "--format=%ct")
    return int(os.environ.get("SOURCE_DATE_EPOCH") or said or 315532800)


def _git(*words: str) -> str | None:
    """What git says; None outside a clone, and where there is no git."""
    try:
        said = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if said.returncode else said.stdout


def _dependencies(stage: Path, made_at: int) -> str:
    """The locked dependencies, extras included, as CycloneDX; without what differs at each run."""
    found = json.loads(
        _uv(stage, "export", "--quiet", "--locked", "--no-default-groups", "--all-extras", "--format", "cyclonedx1.5")
    )
    found["metadata"]["timestamp"] = datetime.fromtimestamp(made_at, UTC).isoformat()
    name = f"{found['metadata']['component']['name']} {found['metadata']['component']['version']} {made_at}"
    found["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
    return json.dumps(found, indent=2) + "\n"


def _uv(stage: Path, *arguments: str, made_at: int | None = None) -> str:
    environ = os.environ | ({"SOURCE_DATE_EPOCH": str(made_at)} if made_at is not None else {})
    done = subprocess.run(
        [str(ROOT / "tools" / "uv"), *arguments], cwd=stage, env=environ, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
