"""`email_outbox hold --incoming`, and the release that ends it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.management.choosing import age, filter_of
from reliable_email.management.screens.finding import user
from reliable_email.outbox.operations.holds import standing_holds
from reliable_email.outbox.operations.incoming import can_be_held, hold_incoming, release_incoming
from reliable_email.store.questions.filters import Filter
from reliable_email.values import printable


def add_incoming(parser: ArgumentParser) -> None:
    """Options of `hold`."""
    words = "also hold messages queued from now on; choose with --all, --mailer, --account, --stream or --priority"
    parser.add_argument("--incoming", action="store_true", help=words)
    words = "with --incoming: the time after which the hold ends, such as 2h; by default when you release it"
    parser.add_argument("--for", dest="lifetime", type=age, metavar="AGE", help=words)


def hold_what_comes(options: dict[str, Any], using: str) -> int | None:
    """Do it before what is there is held, so that nothing slips through; how many holds are new, None without."""
    if not options["incoming"]:
        if options["lifetime"] is not None:
            raise CommandError("--for needs --incoming, whose duration it sets.", returncode=ExitCode.USAGE)
        return None
    chosen = filter_of(options, using)
    _refuse_unknowable(chosen)
    if options["dry_run"] or (chosen.is_empty and not options["all"]):
        return 0  # the second is refused in a moment
    actor = options["actor"] or user()
    return hold_incoming(chosen, actor=actor, reason=options["reason"], lifetime=options["lifetime"], using=using)


def release_what_comes(options: dict[str, Any], using: str) -> tuple[list[str], list[str]]:
    """Let go what comes, before what is there is released; sentences about holds that stay in force and that ended."""
    chosen = filter_of(options, using)
    if chosen.is_empty and not options["all"]:
        return [], []  # which is refused in a moment
    if options["incoming"]:
        _refuse_unknowable(chosen)
    standing = staying = standing_holds(using)
    if not options["dry_run"]:
        staying = release_incoming(chosen, actor=options["actor"] or user(), reason=options["reason"], using=using)
    still_held = [
        printable(
            f"New mail ({one.words}) is still held by {one.actor}{f': {one.reason}' if one.reason else ''}. "
            f"It ends by “email_outbox release” with --all or with the same filter."
        )
        for one in staying
    ]
    ended = [printable(f"The hold on new mail ({one.words}) has ended.") for one in standing if one not in staying]
    return still_held, ended


def _refuse_unknowable(chosen: Filter) -> None:
    if not can_be_held(chosen):
        words = "What has not come yet is chosen by --mailer, --account, --stream and --priority, or --all."
        raise CommandError(words, returncode=ExitCode.USAGE)
