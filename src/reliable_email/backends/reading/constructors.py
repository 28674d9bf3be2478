"""The options that a backend's class takes, read from its source: while settings are read, nothing may be imported.

A project's module may read the settings, or import models, which would fail or see half of them.
"""

import ast
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from reliable_email.backends.reading.options import SMTP_OPTIONS

DJANGO_SMTP = "django.core.mail.backends.smtp.EmailBackend"
DJANGO_SMTP_OPTIONS = frozenset(
    {"host", "port", "username", "password", "use_tls", "use_ssl", "timeout", "ssl_certfile", "ssl_keyfile"}
)
_OURS = "reliable_email.backends.smtp.ReliableSMTPBackend"
# What is not read any further: the bases from which backends are derived.
_KNOWN: dict[str, frozenset[str] | None] = {
    DJANGO_SMTP: DJANGO_SMTP_OPTIONS,
    _OURS: frozenset(SMTP_OPTIONS),
    "reliable_email.backends.ReliableSMTPBackend": frozenset(SMTP_OPTIONS),
    "django.core.mail.backends.base.BaseEmailBackend": frozenset[str](),
}


def accepted_options(path: str) -> frozenset[str] | None:
    """Return the names of options that the class at a dotted path takes; None where its source does not tell."""
    return _accepted(path, dict(_KNOWN))


def _accepted(path: str, known: dict[str, frozenset[str] | None]) -> frozenset[str] | None:
    if path not in known:
        known[path] = None  # for modules that import from each other
        known[path] = _read(path, known)
    return known[path]


def _read(path: str, known: dict[str, frozenset[str] | None]) -> frozenset[str] | None:
    module, _, name = path.rpartition(".")
    file = _file(module) if module else None
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    imported = list(_imported(tree, module, is_package=file.name == "__init__.py"))
    cls = next((one for one in _statements(tree.body) if isinstance(one, ast.ClassDef) and one.name == name), None)
    if cls is None:
        origins = [origin for one, origin in imported if one == name]
        origins += [f"{origin.removesuffix('*')}{name}" for one, origin in imported if one == "*"]
        return _first(origins, known)
    own, passes_on = _own(cls)
    if not passes_on:
        return own
    if any(isinstance(base, ast.Call) for base in cls.bases):
        return None
    for base in filter(None, map(_dotted, cls.bases)):
        first, dot, rest = base.partition(".")
        if base == "object":
            continue
        origins = [origin for one, origin in imported if one == first] or [f"{module}.{first}"]
        found = _first([f"{origin}{dot}{rest}" for origin in origins], known)
        if found is None:
            return None
        own |= found
    return own


def _first(paths: list[str], known: dict[str, frozenset[str] | None]) -> frozenset[str] | None:
    """Read the first class that can be found: what a module imports for want of it stands behind it."""
    return next((found for one in paths if (found := _accepted(one, known)) is not None), None)


def _file(module: str) -> Path | None:
    """The source of a module, found without importing the packages that it is in."""
    where = None
    spec = None
    for part in module.split("."):
        try:
            # By its own name alone: a namespace package asks for the parent that is named, which is not imported.
            spec = PathFinder.find_spec(part, where)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        where = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _imported(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """Yield each imported name of a module with the dotted path that it stands for."""
    package = module if is_package else module.rpartition(".")[0]
    for one in _statements(tree.body):
        if isinstance(one, ast.Import):
            for alias in one.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        elif isinstance(one, ast.ImportFrom):
            parents = package.split(".")
            above = ".".join(parents[: len(parents) - one.level + 1]) if one.level else ""
            origin = ".".join(filter(None, (above, one.module)))
            for alias in one.names:
                yield alias.asname or alias.name, f"{origin}.{alias.name}"


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield a module's statements, also those that depend on something (a version, what is installed)."""
    for one in body:
        yield one
        if isinstance(one, ast.If | ast.Try):
            handlers = one.handlers if isinstance(one, ast.Try) else []
            for inner in (one.body, one.orelse, *(handler.body for handler in handlers)):
                yield from _statements(inner)


def _own(cls: ast.ClassDef) -> tuple[frozenset[str], bool]:
    """The options that the class's own constructor names, and whether it passes others on to its base."""
    for one in cls.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            arguments = one.args
            named = [*arguments.posonlyargs, *arguments.args][1:] + arguments.kwonlyargs
            return frozenset(argument.arg for argument in named), arguments.kwarg is not None
    return frozenset(), True


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name) if before := _dotted(value):
            return f"{before}.{name}"
    return ""
