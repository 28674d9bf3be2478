"""`manage.py email_outbox`: look at the queue, and do something about it."""

import getpass
import json
import re
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db.utils import Error as DatabaseError
from django.utils import timezone

from reliable_email import conf
from reliable_email.backends.routes import delivering_alias, mailers_over
from reliable_email.diagnosis.verdict import EXIT_CODES, ExitCode, Health
from reliable_email.management.database_errors import DatabaseCommand
from reliable_email.management.screens.bars import bars
from reliable_email.management.screens.looking import Looker
from reliable_email.management.screens.outbox_view import health_lines, lines
from reliable_email.management.screens.terminal import add_plain_option, live_console, logs_above
from reliable_email.management.screens.watching import watch, watch_screen
from reliable_email.monitoring.health import examine_site
from reliable_email.outbox.enqueue import QueueOptions
from reliable_email.outbox.importing import SenderRuns, Source, SourceMissing, import_queue
from reliable_email.outbox.keyring import KeyMissing, configured_keyring
from reliable_email.outbox.operate import Act, Resolution, perform
from reliable_email.outbox.prune import prune
from reliable_email.store.audit import audit
from reliable_email.store.queries import (
    Filter,
    MessageStory,
    message_ids,
    outbox_database,
    recipients,
    story,
)
from reliable_email.store.states import State
from reliable_email.values import masked, printable

_AGE = re.compile(r"(\d+)\s*([smhd])\Z")
_AGE_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(DatabaseCommand):
    """Subcommands, each with `--json`. Exit code 0 healthy or done, 1 unhealthy or failed, 2 usage, 3 degraded."""

    help = "Show the outbox, and requeue, cancel, hold, resolve, prune or audit what is in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias of the database; by default the router's choice")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, help_text, add in (
            ("status", "how many recipients are in which state, and whether that is well", _watching),
            ("show", "everything that is known of one message", _one_message),
            ("requeue", "send again what is parked, rejected, expired or cancelled", _requeueing),
            ("cancel", "send no more, where no server can have it yet", _filters),
            ("hold", "park what waits; the first thing to do after a restore", _filters),
            ("resolve", "say what became of unknown recipients", _resolution),
            ("prune", "forget content and journal that are old enough", _pruning),
            ("import", "take over the queue of django-post_office or django-mailer", _importing),
            ("audit", "prove on the live tables that nothing is lost and nothing was sent twice", _nothing),
        ):
            command = commands.add_parser(name, help=help_text, description=help_text)
            command.add_argument("--json", action="store_true", help="print one JSON object")
            add_plain_option(command)
            command.set_defaults(run=name)
            add(command)

    def handle(self, *args: Any, **options: Any) -> None:
        self._json = options["json"]
        self._using = outbox_database(options["database"])
        self._console = live_console(self.stdout, options)
        run: Callable[[dict[str, Any]], None] = getattr(self, f"_{options['run']}")
        run(options)

    # Looking.

    def _status(self, options: dict[str, Any]) -> None:
        looker = Looker(self._using)
        if options["watch"]:
            self._watch(looker, options)
            return
        try:
            view = looker.look()
        except DatabaseError:
            self._tell_unreadable()
            return
        if self._json:
            told = {
                "verdict": view.health.verdict,
                "reasons": [one.text for one in view.health.findings],
                "findings": view.health.as_json()["findings"],
            }
            self._print_json(told | asdict(view.status))
        else:
            for line in lines(view):
                self.stdout.write(line)
        self._exit(view.health.verdict)

    def _watch(self, looker: Looker, options: dict[str, Any]) -> None:
        if self._json:
            raise CommandError(
                "--watch shows people what --json tells programs: choose one.", returncode=ExitCode.USAGE
            )
        with watch_screen(self._console, self._print_now) as screen, logs_above():
            health = watch(looker.look, screen, using=self._using)
        self._exit(health)

    def _tell_unreadable(self) -> None:
        """The verdict says why there is nothing to count."""
        health = examine_site(self._using)
        if self._json:
            reasons = [one.text for one in health.findings]
            self._print_json({"verdict": health.verdict, "reasons": reasons, "findings": health.as_json()["findings"]})
        else:
            for line in health_lines(health):
                self.stdout.write(line)
        self._exit(health.verdict)

    def _show(self, options: dict[str, Any]) -> None:
        name = options["id"]
        ids = [int(name)] if name.isdecimal() else message_ids(name, self._using)
        stories = [found for one in ids if (found := story(one, self._using)) is not None]
        if not stories:
            raise CommandError(f"There is no message {name!r}.", returncode=ExitCode.UNHEALTHY)
        for found in stories:
            opened = _opened(found)
            if self._json:
                self._print_json(opened)
            else:
                self._print_story(opened)

    def _print_story(self, found: dict[str, Any]) -> None:
        self.stdout.write(f"message {found['id']}  {found['message_id']}")
        for name in ("mailer", "environment", "priority", "created_at", "send_at", "expires_at", "sender", "subject"):
            if found[name] not in ("", None):
                self.stdout.write(f"  {name:<12} {printable(str(found[name]))}")
        kept = "kept" if found["has_content"] else "pruned"
        self.stdout.write(f"  {'content':<12} {found['content_size']:,} bytes, {kept}")
        for one in found["recipients"]:
            words = [
                one["state"],
                f"by {one['route']}" if one["route"] else "",
                one["cause"],
                one["reply"],
                one["detail"],
            ]
            said = ", ".join(printable(word) for word in words if word)
            due = f", due {one['due_at']}" if one["due_at"] else ""
            self.stdout.write(f"  {_address(one['address'])}: {said}, {one['attempts']} attempts{due}")
        for one in found["attempts"]:
            outcomes = ", ".join(f"{_address(address)} {outcome}" for address, outcome in one["outcomes"].items())
            said = printable(one["reply"] or one["detail"])
            self.stdout.write(
                f"  {one['finished_at']} {one['route']} {one['stage']} {one['seconds']:.3f} s: {outcomes}"
            )
            if said:
                self.stdout.write(f"    {said}")
        for one in found["events"]:
            said = f": {printable(one['detail'])}" if one["detail"] else ""
            self.stdout.write(f"  {one['at']} {one['source']} reported: {_address(one['address'])} {one['kind']}{said}")

    def _audit(self, options: dict[str, Any]) -> None:
        with bars(self._console) as progress:
            found = audit(self._using, progress=progress)
        if self._json:
            self._print_json({"clean": found.is_clean, **asdict(found)})
        else:
            for finding in found.findings:
                self.stdout.write(f"message {finding.message} {_address(finding.address)}: {finding.text}")
            self.stdout.write(
                f"{found.messages:,} messages, {found.recipients:,} recipients, {found.attempts:,} attempts: "
                f"{len(found.findings)} findings, {found.copies} second copies after a doubt, {found.unknown} unknown"
            )
        self._exit(Health.HEALTHY if found.is_clean else Health.UNHEALTHY)

    # Acting.

    def _requeue(self, options: dict[str, Any]) -> None:
        after = timedelta(days=conf.get().expires_days)
        route = options["by_route"]
        if route:
            over = mailers_over(route)
            if not over:
                raise CommandError(f"There is no route {route!r}.", returncode=ExitCode.USAGE)
            # What another mailer sends would wait for this route for ever.
            options["mailer"] = [one for one in over if not options["mailer"] or one in options["mailer"]] or [""]
        self._perform(options, Act.REQUEUE, route=route, gives_up_after=after)

    def _cancel(self, options: dict[str, Any]) -> None:
        self._perform(options, Act.CANCEL)

    def _hold(self, options: dict[str, Any]) -> None:
        self._perform(options, Act.HOLD)

    def _resolve(self, options: dict[str, Any]) -> None:
        if options["id"].isdecimal():
            options["ids"] = [int(options["id"])]
        else:
            options["ids"] = message_ids(options["id"], self._using) or [0]
        self._perform(options, Act(f"resolve_{options['resolution']}"))

    def _perform(self, options: dict[str, Any], act: Act, **wishes: Any) -> None:
        chosen = _filter(options)
        if chosen.is_empty and not options.get("all"):
            raise CommandError("Say which: give a filter, or --all for every one.", returncode=ExitCode.USAGE)
        # A number names its message. After a restore on another system everything is to be held, wherever it is from.
        is_for_all = options.get("all_environments") or chosen.ids or (act is Act.HOLD and options.get("all"))
        if not chosen.environments and not is_for_all:
            chosen = replace(chosen, environments=(conf.get().environment,))
        if options.get("dry_run"):
            count = recipients(chosen, self._using).count()
            self._tell(count, "recipients match; which of them can change is decided when it is done")
            return
        actor, reason = options["actor"] or _user(), options["reason"]
        with bars(self._console) as progress:
            done = perform(act, chosen, actor=actor, reason=reason, using=self._using, progress=progress, **wishes)
        self._tell(done.count, "recipients changed")

    def _prune(self, options: dict[str, Any]) -> None:
        settings = conf.get()
        with bars(self._console) as progress:
            pruned = prune(
                using=self._using,
                content_after=_age_or(options["content_after"], days=settings.content_days),
                journal_after=_age_or(options["journal_after"], days=settings.journal_days),
                dry_run=options["dry_run"],
                progress=progress,
                environment=None if options["all_environments"] else settings.environment,
            )
        if self._json:
            self._print_json(asdict(pruned))
        else:
            done = "would be" if options["dry_run"] else "were"
            self.stdout.write(f"{pruned.contents:,} contents and {pruned.messages:,} messages {done} removed")

    def _import(self, options: dict[str, Any]) -> None:
        settings = conf.get()
        queue = QueueOptions(
            mailer=options["mailer"] or _default_mailer(),
            using=self._using,
            environment=settings.environment,
            gives_up_after=timedelta(days=settings.expires_days),
            keyring=configured_keyring(),
        )
        try:
            with bars(self._console) as progress:
                source = Source(options["source"])
                found = import_queue(source, queue, dry_run=not options["apply"], progress=progress)
        except SourceMissing as error:
            raise CommandError(str(error), returncode=ExitCode.USAGE) from error
        except SenderRuns as error:
            raise CommandError(str(error), returncode=ExitCode.UNHEALTHY) from error
        if self._json:
            self._print_json({"applied": options["apply"], **asdict(found)})
        else:
            for line in found.unreadable:
                self.stdout.write(f"left where it is: {printable(line)}")
            self.stdout.write(
                f"{found.queued:,} messages and {found.suppressed:,} suppressed addresses "
                f"{'were' if options['apply'] else 'would be'} taken over for the mailer {queue.mailer!r}; "
                f"{found.repeated} were here already, {found.expired} have expired, {len(found.unreadable)} unreadable"
            )
            if not options["apply"]:
                self.stdout.write("Nothing was changed. Stop the other app's sender, then run it again with --apply.")
        self._exit(Health.UNHEALTHY if found.unreadable else Health.HEALTHY)

    # Saying.

    def _tell(self, count: int, words: str) -> None:
        if self._json:
            self._print_json({"count": count})
        else:
            self.stdout.write(f"{count:,} {words}")

    def _print_now(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()  # a pipe would keep it until there is more

    def _print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, default=str))

    def _exit(self, health: Health) -> None:
        if health is not Health.HEALTHY:
            raise SystemExit(int(EXIT_CODES[health]))


def _nothing(parser: ArgumentParser) -> None:
    pass


def _watching(parser: ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="look every second, until Ctrl-C")


def _one_message(parser: ArgumentParser) -> None:
    parser.add_argument("id", help="its number, or its Message-ID")


def _filters(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="these messages")
    parser.add_argument("--all", action="store_true", help="every message")
    parser.add_argument("--state", action="append", choices=[one.value for one in State], default=[])
    parser.add_argument("--cause", action="append", default=[], help="such as sender_not_verified")
    parser.add_argument("--route", action="append", default=[], help="the route that was asked last")
    parser.add_argument("--mailer", action="append", default=[])
    parser.add_argument("--environment", action="append", default=[], help="instead of this site's own ENVIRONMENT")
    _all_environments(parser)
    parser.add_argument("--recipient", default="", help="an address, or @domain")
    parser.add_argument("--older-than", type=_age, help="queued before that: 90s, 15m, 2h, 3d")
    parser.add_argument("--newer-than", type=_age, help="queued since then")
    parser.add_argument("--dry-run", action="store_true", help="count what matches, change nothing")
    _actor(parser)


def _all_environments(parser: ArgumentParser) -> None:
    words = "whatever ENVIRONMENT it was queued in; by default this site's own"
    parser.add_argument("--all-environments", action="store_true", help=words)


def _requeueing(parser: ArgumentParser) -> None:
    _filters(parser)
    parser.add_argument("--by-route", default="", metavar="ALIAS", help="by this route alone, where the mailer uses it")


def _resolution(parser: ArgumentParser) -> None:
    _one_message(parser)
    parser.add_argument("resolution", choices=[one.value for one in Resolution])
    parser.add_argument("--recipient", default="", help="this recipient alone")
    _actor(parser)


def _actor(parser: ArgumentParser) -> None:
    parser.add_argument("--actor", default="", help="who does it, for the record; by default the system's user")
    parser.add_argument("--reason", default="", help="why, for the record")


def _importing(parser: ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", required=True, choices=[one.value for one in Source])
    parser.add_argument("--mailer", help="alias of the mailer that delivers; by default what the default outbox uses")
    parser.add_argument("--apply", action="store_true", help="do it; without, only say what would be done")


def _default_mailer() -> str:
    return delivering_alias()


def _pruning(parser: ArgumentParser) -> None:
    parser.add_argument("--content-after", type=_age, help="instead of CONTENT_DAYS: 12h, 7d")
    parser.add_argument("--journal-after", type=_age, help="instead of JOURNAL_DAYS")
    _all_environments(parser)
    parser.add_argument("--dry-run", action="store_true", help="count, remove nothing")


def _age(text: str) -> timedelta:
    match = _AGE.match(text.strip())
    if match is None:
        raise ValueError(text)
    return timedelta(**{_AGE_UNITS[match[2]]: int(match[1])})


def _age_or(age: timedelta | None, *, days: float) -> timedelta:
    # 0s is an answer too.
    return age if age is not None else timedelta(days=days)


def _filter(options: dict[str, Any]) -> Filter:
    def since(name: str) -> datetime | None:
        age: timedelta | None = options.get(name)
        return timezone.now() - age if age is not None else None

    return Filter(
        ids=tuple(options.get("ids") or ()),
        states=tuple(options.get("state") or ()),
        causes=tuple(options.get("cause") or ()),
        routes=tuple(options.get("route") or ()),
        mailers=tuple(options.get("mailer") or ()),
        environments=tuple(options.get("environment") or ()),
        recipient=options.get("recipient") or "",
        older_than=since("older_than"),
        newer_than=since("newer_than"),
    )


def _opened(found: MessageStory) -> dict[str, Any]:
    """As a dict, with what was sealed opened where the key is here."""
    told = asdict(found)
    keyring = configured_keyring()

    def opened(text: str) -> str:
        try:
            return keyring.open_text(text, found.encryption_key)
        except KeyMissing:
            return "(encrypted)"

    told["subject"] = opened(found.subject)
    if found.encryption_key:
        for one in (*told["recipients"], *told["attempts"]):
            head, _, sealed = one["reply"].rpartition(" ")
            if sealed.startswith("gAAAA"):  # a Fernet token
                one["reply"] = f"{head} {opened(sealed)}"
        for one in told["events"]:
            if one["detail"]:
                one["detail"] = opened(one["detail"])
    return told


def _address(address: str) -> str:
    shown = printable(address)
    return masked(shown) if conf.get().mask_addresses and shown else shown


def _user() -> str:
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):
        return "command"
