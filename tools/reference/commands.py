"""docs/reference/commands.md: every command with its options, from the parsers themselves."""

import argparse
from collections.abc import Iterator

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from tools.reference.markdown import code, table

APP = "reliable_email"

_BEGINNING = """\
# Commands

For operators: every command of this package with all its arguments. The exit codes are the same for all commands:

| exit code | meaning |
|---|---|
| 0 | healthy, or done |
| 1 | unhealthy, or failed |
| 2 | the command was called wrongly |
| 3 | degraded: mail goes out, but something needs attention |

Arguments that every Django command has, such as `--settings` and `--verbosity`, are left out.
"""


def page() -> str:
    """The whole page."""
    names = sorted(name for name, app in get_commands().items() if app == APP)
    return "\n".join([_BEGINNING, *(part for name in names for part in _command(name))])


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    return load_command_class(APP, name).create_parser("manage.py", name)


def _command(name: str) -> Iterator[str]:
    command = load_command_class(APP, name)
    yield f"## {name}\n\n{command.help}\n"
    parser = parser_of(name)
    own = [one for one in parser._actions if one.dest not in _of_django()]
    plain = [one for one in own if not isinstance(one, argparse._SubParsersAction)]
    if plain:
        yield _options(plain)
    for group in own:
        if isinstance(group, argparse._SubParsersAction):
            for sub_name, sub in group.choices.items():
                help_text = next(one.help for one in group._choices_actions if one.dest == sub_name)
                yield f"### {name} {sub_name}\n\n{_sentence(help_text or '')}\n"
                yield _options([one for one in sub._actions if one.dest not in _of_django()])


def _options(actions: list[argparse.Action]) -> str:
    rows = [(_spelling(one), _sentence(one.help or _choices(one))) for one in actions]
    return table(("Argument", "What it does"), rows)


def _spelling(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return code(value if action.nargs not in ("*", "+") else f"{value} …")
    name = action.option_strings[-1]
    if action.nargs == 0:
        return code(name)
    return code(f"{name} [{value}]" if action.nargs == "?" else f"{name} {value}")


def _value(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def _choices(action: argparse.Action) -> str:
    if action.choices:
        return f"one of {', '.join(map(str, action.choices))}"
    word = _value(action).lower()
    return f"one or more {word}es" if action.nargs == "+" else f"the {word}"


def _sentence(text: str) -> str:
    text = text % {} if "%%" in text else text
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _of_django() -> set[str]:
    return {one.dest for one in BaseCommand().create_parser("manage.py", "x")._actions}
