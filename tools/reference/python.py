"""docs/reference/python.md: what code imports, from its docstrings."""

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any

from django.utils.module_loading import import_string

import reliable_email
from reliable_email import exceptions, signals
from reliable_email.backends.reading.tokens import GRANTS
from reliable_email.delivery.report import Attempt
from tools.reference.markdown import code, docstring, docstring_table, table

_BEGINNING = """\
# Python

For developers: the functions, classes, exceptions and signals that your code can use. Send a message as always, and
read its report at `message.delivery`. To set options of one message, assign `message.delivery_options` before you
send it.

```python
from reliable_email import DeliveryOptions, submit
```
"""
_DJANGOS = {
    "InvalidMailer": "A mailer's configuration is wrong.",
    "MailerDoesNotExist": "There is no mailer of that name.",
}
_CLASSES = ("DeliveryReport", "RecipientOutcome", "DeliveryOptions")
_WORDS = ("Outcome", "OnUnknown", "Priority")
_WORD_TEXTS = {
    "Outcome": "The result for one recipient. A direct send has one of the first four; the others are those of the "
    "outbox.",
}


def page() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING, *_values(), *_submit(), *_functions(), *_errors(), _signals(), *_tokens()])


def _values() -> Iterator[str]:
    for name in _CLASSES:
        yield from _class(getattr(reliable_email, name))
        if name == "RecipientOutcome":
            yield from _class(Attempt)
    for name in _WORDS:
        words: type[StrEnum] = getattr(reliable_email, name)
        yield f"## {name}\n\n{_WORD_TEXTS.get(name, docstring(words).text)}\n"
        yield ", ".join(code(f'"{word.value}"') for word in words) + "\n"


def _class(cls: type) -> Iterator[str]:
    told = docstring(cls)
    yield f"## {cls.__name__}\n\n{told.text}\n"
    rows = [(code(name), _type(cls, name), text) for name, text in told.attributes.items()]
    if is_dataclass(cls) and not rows:
        rows = [(code(one.name), _type(cls, one.name), "") for one in fields(cls)]
    for name, value in vars(cls).items():
        if isinstance(value, property):
            rows.append(
                (code(name), _type_text(inspect.signature(value.fget).return_annotation), docstring(value).text)
            )  # type: ignore[arg-type]
    yield table(("Attribute", "Type", "Meaning"), rows)


def _type(cls: Any, name: str) -> str:
    found = next((one for one in fields(cls) if one.name == name), None) if is_dataclass(cls) else None
    return "" if found is None else _type_text(found.type)


def _type_text(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return code(text.rpartition(".")[2] if "[" not in text and "|" not in text else _short(text))


def _short(text: str) -> str:
    for prefix in ("delivery.report.", "delivery.submission.", "delivery.words.", "smtp.dsn."):
        text = text.replace(f"reliable_email.{prefix}", "")
    for prefix in ("collections.abc.",):
        text = text.replace(prefix, "")
    for prefix in ("reliable_email.classification.causes.", "reliable_email.smtp.syntax.replies.", "datetime."):
        text = text.replace(prefix, "")
    return text


def _submit() -> Iterator[str]:
    told = docstring(reliable_email.submit)
    yield f"## submit\n\n`submit(message, using=None, **options)`: {told.text[:1].lower()}{told.text[1:]}\n"
    yield table(("Argument", "What it is"), [(code(name), text) for name, text in told.attributes.items()])
    yield "Raises:\n\n" + "\n".join(f"- `{name}`: {text}" for name, text in told.raises.items()) + "\n"


def _functions() -> Iterator[str]:
    """What is said in a sentence."""
    yield "## Other functions\n"
    yield table(
        ("Function", "What it does"),
        [
            (code("delivery_of(message)"), docstring(reliable_email.delivery_of).text.partition("\n")[0]),
            (code("await asend(message, using=None)"), docstring(reliable_email.asend).text),
            (code("await asubmit(message, using=None, **options)"), docstring(reliable_email.asubmit).text),
        ],
    )


def _errors() -> Iterator[str]:
    yield (
        "## Exceptions\n\n"
        "In `reliable_email.exceptions`. Each derives from the class that code for Django's SMTP backend catches.\n"
    )
    rows = []
    for name in exceptions.__all__:
        found = getattr(exceptions, name)
        if not inspect.isclass(found):
            continue
        bases = [one.__name__ for one in found.__bases__ if not one.__name__.startswith("_")]
        hidden = [base.__name__ for one in found.__bases__ if one.__name__.startswith("_") for base in one.__bases__]
        # From Django 6.1 on two of them are Django's own.
        text = _DJANGOS.get(name) or docstring(found).text.splitlines()[0]
        rows.append((code(name), ", ".join(map(code, dict.fromkeys([*hidden, *bases]))), text))
    yield table(("Exception", "Derives from", "Raised when"), rows)
    told = docstring(exceptions.DeliveryError)
    yield "A `DeliveryError` carries:\n\n" + "\n".join(f"- `{n}`: {t}" for n, t in told.attributes.items()) + "\n"


def _signals() -> str:
    before = inspect.cleandoc(signals.__doc__ or "").split("\n\n")[1]
    return f"## Signals\n\nIn `reliable_email.signals`. {before}\n\n" + docstring_table(signals)


def _tokens() -> Iterator[str]:
    yield "## Token providers\n"
    for grant, path in GRANTS.items():
        cls = import_string(path)
        told = docstring(cls)
        yield f'### {cls.__name__}\n\n`{{"grant": "{grant}"}}`. {told.text}\n'
        required = {one.name for one in fields(cls) if one.default is MISSING}
        rows = [
            (", ".join(code(one) for one in name.split(", ")), "yes" if name.split(", ")[0] in required else "", text)
            for name, text in told.attributes.items()
        ]
        yield table(("Argument", "Required", "What it is"), rows)
