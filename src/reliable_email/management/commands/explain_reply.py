"""`manage.py explain_reply`: what a mail server's refusal means, and what will be done about it."""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError

from reliable_email import providers
from reliable_email.classification import Failure, classify
from reliable_email.classification.hints import MAX_WAIT_SECONDS
from reliable_email.classification.meanings import MEANINGS
from reliable_email.classification.pasted import read_reply
from reliable_email.delivery.policy import action_of
from reliable_email.delivery.telling.consequences import package_does
from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.management.own_command import OwnCommand
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.charsets import decoded
from reliable_email.smtp.syntax.replies import Reply, ReplyError
from reliable_email.values import closest, printable

MAX_LINE_BYTES = 256 * 1024


class Command(OwnCommand):
    """Explains one reply, or many of them as JSON lines."""

    help = "Explain the meaning of a mail server's reply, and what this package does about it."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "reply", nargs="?", help="the server's reply, such as '550 5.4.5 Daily user sending quota exceeded'"
        )
        parser.add_argument("--provider", help="the provider of the server: " + ", ".join(providers.names()))
        parser.add_argument("--stage", help="the stage of the reply: " + ", ".join(Stage))
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--batch",
            nargs="?",
            const="-",
            metavar="FILE",
            help='read JSON lines {"stage", "provider", "reply"} from FILE or standard input, and print one for each',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["batch"] is not None:
            if options["reply"] is not None:
                raise CommandError(
                    "--batch reads its replies from a file: give no reply as well.", returncode=ExitCode.USAGE
                )
            self._explain_lines(options["batch"])
            return
        if options["reply"] is None:
            raise CommandError("Give a reply to explain, or --batch.", returncode=ExitCode.USAGE)
        try:
            reply = read_reply(_decoded(options["reply"]))
            stage = _stage(options["stage"])
            provider = None if options["provider"] is None else providers.get(options["provider"]).name
        except (ReplyError, ValueError) as error:
            raise CommandError(printable(f"{error}"), returncode=ExitCode.USAGE) from error
        failure = classify(reply, stage=stage, provider=provider, now=datetime.now(UTC))
        if options["json"]:
            self._print(json.dumps(_as_json(failure) | _explanation(failure, reply)))
        else:
            for line in _as_text(failure, reply):
                self._print(line)

    def _explain_lines(self, name: str) -> None:
        if name == "-":
            self._explain_stream(sys.stdin.buffer if hasattr(sys.stdin, "buffer") else None)
            return
        try:
            with Path(name).open("rb") as stream:
                self._explain_stream(stream)
        except OSError as error:
            raise CommandError(printable(f"Cannot read {name}: {error.strerror}"), returncode=ExitCode.USAGE) from error

    def _explain_stream(self, stream: BinaryIO | None) -> None:
        for line in _text_lines() if stream is None else _lines(stream):
            self._print(json.dumps(_explained(line)))

    def _print(self, line: str) -> None:
        """Write a line whatever the stream's encoding is."""
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        self.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding, "replace"))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Each line, an overlong one cut so that memory stays bounded."""
    while line := stream.readline(MAX_LINE_BYTES):
        cut = line
        while not cut.endswith(b"\n") and (cut := stream.readline(MAX_LINE_BYTES)):
            pass
        yield line


def _text_lines() -> Iterator[bytes]:
    for line in sys.stdin:
        yield line.encode("utf-8", "surrogatepass")


def _explained(line: bytes) -> dict[str, object]:
    try:
        given = json.loads(decoded(line))
    except (ValueError, RecursionError):
        return {"error": "not a JSON object"}
    if not isinstance(given, dict):
        return {"error": "not a JSON object"}
    reply, stage, provider = given.get("reply"), given.get("stage"), given.get("provider")
    if not isinstance(reply, str):
        return {"error": '"reply" has to be a string'}
    if not isinstance(stage, str | None) or not isinstance(provider, str | None):
        return {"error": '"stage" and "provider" have to be strings or null'}
    try:
        # A provider that is not known is no mistake here: logs name servers that nobody has a rule for.
        return _as_json(classify(read_reply(reply), stage=_stage(stage), provider=provider, now=datetime.now(UTC)))
    except (ReplyError, ValueError) as error:
        return {"error": printable(str(error))}


def _stage(name: str | None) -> Stage | None:
    if not name:
        return None
    try:
        return Stage(name.strip().lower())
    except ValueError:
        meant = closest(name, [one.value for one in Stage])
        hint = f" Did you mean {meant!r}?" if meant else ""
        raise ValueError(f"There is no stage {name!r}.{hint} Known are: {', '.join(Stage)}.") from None


def _as_json(failure: Failure) -> dict[str, object]:
    return {
        "cause": failure.cause.value,
        "scope": failure.scope.value,
        "action": action_of(failure).value,
        "permanent": failure.permanent,
        "certain": failure.certain,
        "retry_after": failure.retry_after,
        "retry_at": None if failure.retry_at is None else failure.retry_at.isoformat(),
        "rule": failure.rule,
    }


def _explanation(failure: Failure, reply: Reply) -> dict[str, object]:
    meaning = MEANINGS[failure.cause]
    return {
        "code": reply.code,
        "enhanced": reply.enhanced,
        "text": reply.text,
        "stage": None if failure.stage is None else failure.stage.value,
        "meaning": meaning.says,
        "package": package_does(failure),
        "help": failure.help,
    }


def _as_text(failure: Failure, reply: Reply) -> Iterator[str]:
    meaning = MEANINGS[failure.cause]
    person = failure.help if failure.help != f"{meaning.says} {meaning.person}".strip() else meaning.person
    yield printable(str(reply))
    yield ""
    yield f"Cause      {failure.cause.value}: {meaning.says}"
    yield f"About      {failure.scope.value.replace('_', ' ')}"
    yield f"Lasting    {'yes, until somebody acts' if failure.permanent else 'no, it may pass by itself'}"
    if failure.retry_at is not None and failure.retry_after != MAX_WAIT_SECONDS:
        yield f"Not before {failure.retry_at.isoformat()}"
    elif failure.retry_after is not None:
        yield f"Wait       {_duration(failure.retry_after)}"
    yield f"Package    {package_does(failure)}"
    yield f"You        {person or 'Nothing to do.'}"
    yield f"Decided by {failure.rule}{'' if failure.certain else ' (a guess from the code alone)'}"


def _duration(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"


def _decoded(argument: str) -> str:
    """A command-line argument with bytes that are not UTF-8 made readable."""
    return decoded(os.fsencode(argument)) if _has_surrogates(argument) else argument


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
