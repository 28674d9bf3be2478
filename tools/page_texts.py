"""English texts outside of views and templates that pages show translated: what findings, causes and rules say.

`make messages` writes them into a module for as long as gettext reads the package: rules are TOML, and the layers below
the pages know no gettext.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import reliable_email
from reliable_email.classification import Cause, answers
from reliable_email.classification.meanings import MEANINGS
from reliable_email.classification.rulebook import loose_rulebook, rulebook
from reliable_email.delivery.telling import consequences
from reliable_email.smtp.oauth import token_request
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.tls import errors as tls
from reliable_email.smtp.tls.form_rules import FORM_CODES
from reliable_email.store.tables.states import OWN_CAUSES

ROOT = Path(reliable_email.__file__).parent
PLACE = ROOT / "texts_of_findings_and_causes.py"


def texts() -> Iterator[str]:
    """Each of them, some several times."""
    for meaning in MEANINGS.values():
        yield from (meaning.says, meaning.person)
    for rule in (*rulebook().rules, *loose_rulebook().rules):
        yield rule.help
    for name in (*Cause, *OWN_CAUSES, *Stage):
        yield str(name).replace("_", " ")
    yield from (answers._CONVERSATION, answers._NOT_WELCOME)
    yield from tls._ADVICE.values()
    yield from tls._FORM_ADVICE.values()
    for code in sorted(FORM_CODES & tls._ADVICE.keys()):
        yield from (f"{tls._ADVICE[code]}, or {form}" for form in tls._FORM_ADVICE.values())
    yield from (*token_request._ADVICE.values(), token_request.ADVICE_TO_LOOK, token_request.ADVICE_ON_REDIRECT)
    yield from _sentences(Path(consequences.__file__))


def _sentences(module: Path) -> Iterator[str]:
    """The whole sentences among a module's strings, outside of docstrings and of tables for the documentation."""
    tree = ast.parse(module.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Return | ast.Dict | ast.Call):
            values = (
                [node.value] if isinstance(node, ast.Return) else getattr(node, "values", getattr(node, "args", []))
            )
            for value in values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.endswith("."):
                    yield value.value


def main() -> None:
    """Write the module, which `make messages` takes away."""
    lines = (f"_({text!r})" for text in dict.fromkeys(texts()) if text)
    PLACE.write_text("\n".join(["from django.utils.translation import gettext_noop as _", *lines, ""]), "utf-8")


if __name__ == "__main__":
    main()
