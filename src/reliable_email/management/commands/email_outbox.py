"""`manage.py email_outbox`: look at the queue, and do something about it."""

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db.utils import Error as DatabaseError

from reliable_email import conf
from reliable_email.backends.routes import all_mailers, delivering_alias, mailers_over
from reliable_email.diagnosis.verdict import EXIT_CODES, ExitCode, Health
from reliable_email.management.choosing import add_filters, age, filter_of, look, named_messages, narrowed
from reliable_email.management.holding import add_incoming, hold_what_comes, release_what_comes
from reliable_email.management.names import refuse, route_names
from reliable_email.management.people import PeopleCommand, add_erase, add_export, add_record
from reliable_email.management.screens.bars import bars
from reliable_email.management.screens.finding import as_json, newest_to, shown_address, table, user
from reliable_email.management.screens.looking import Looker
from reliable_email.management.screens.message_story import opened, story_lines
from reliable_email.management.screens.outbox_view import health_lines, lines, sizes
from reliable_email.management.screens.terminal import add_plain_option, live_console, logs_above
from reliable_email.management.screens.watching import watch, watch_screen
from reliable_email.management.unchanged import unchanged, why_not
from reliable_email.monitoring.health import examine_site
from reliable_email.outbox.intake.enqueue import QueueOptions
from reliable_email.outbox.keyring import configured_keyring
from reliable_email.outbox.operations.importing import SenderRuns, Source, SourceMissing, import_queue
from reliable_email.outbox.operations.operate import Act, Resolution, affected, perform
from reliable_email.outbox.operations.prune import prune
from reliable_email.store.questions.audit import audit
from reliable_email.store.questions.filters import Filter, outbox_database
from reliable_email.store.questions.sizes import table_bytes
from reliable_email.store.questions.stories import story
from reliable_email.store.tables.states import State
from reliable_email.values import many, printable

_MOST_COUNTED = 1_000_000


class Command(PeopleCommand):
    """Subcommands, each with `--json`. Exit code 0 healthy or done, 1 unhealthy or failed, 2 usage, 3 degraded."""

    help = "Show the outbox, and requeue, cancel, hold, release, resolve, prune or audit its messages."
    # Whoever has to find or stop mail at night can do so while a mailer or a page of the site is broken.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias of the database; by default the router's choice")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, help_text, add in (
            ("status", "show the number of recipients in each state, and the verdict", _watching),
            ("list", "list recipients with their state, cause and route", _listing),
            ("show", "show everything about one message", _one_message),
            ("requeue", "queue parked, rejected, expired or cancelled recipients again", _requeueing),
            ("cancel", "cancel recipients whose message no server can have yet", _filters),
            ("hold", "park waiting messages, and incoming ones; the first step after a restore", _holding),
            ("release", "queue held messages again, and end a hold on incoming ones", _releasing),
            ("resolve", "record the outcome of unknown recipients, or resend", _resolution),
            ("erase", "erase a person's messages, evidence and address", add_erase),
            ("export", "export everything that is stored about a person, as one JSON object", add_export),
            ("prune", "delete old content and old journal entries", _pruning),
            ("import", "import the queue of django-post_office or django-mailer", _importing),
            ("audit", "check that no message was lost or sent twice, in the live tables", _nothing),
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
        looker = Looker(self._using, None if options["all_environments"] else conf.get().environment)
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
            self._print_json(told | asdict(view.status) | {"table_bytes": table_bytes(self._using)})
        else:
            for line in lines(view, sizes(self._using)):
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

    def _list(self, options: dict[str, Any]) -> None:
        if options["limit"] < 1:
            raise CommandError("--limit must be at least 1.", returncode=ExitCode.USAGE)
        found = look(options, self._using)
        if self._json:
            self._print_json(as_json(found))
            return
        for line in table(found):
            self.stdout.write(line)

    def _show(self, options: dict[str, Any]) -> None:
        name = options["id"]
        ids = named_messages(name, self._using) or newest_to(name, self._using)
        stories = [found for one in ids if (found := story(one, self._using)) is not None]
        if not stories:
            words = f"There is no message {printable(name)!r}, and none to such an address."
            raise CommandError(words, returncode=ExitCode.UNHEALTHY)
        for found in stories:
            told = opened(found)
            if self._json:
                self._print_json(told)
            else:
                for line in story_lines(told):
                    self.stdout.write(line)

    def _audit(self, options: dict[str, Any]) -> None:
        with bars(self._console) as progress:
            found = audit(self._using, progress=progress)
        if self._json:
            self._print_json({"clean": found.is_clean, **asdict(found)})
        else:
            for finding in found.findings:
                self.stdout.write(f"message {finding.message} {shown_address(finding.address)}: {finding.text}")
            self.stdout.write(
                f"{many(found.messages, 'message', 'messages')}, {many(found.recipients, 'recipient', 'recipients')}, "
                f"{many(found.attempts, 'attempt', 'attempts')}: {many(len(found.findings), 'finding', 'findings')}, "
                f"{many(found.copies, 'second copy', 'second copies')} after a doubt, {found.unknown:,} unknown"
            )
        self._exit(Health.HEALTHY if found.is_clean else Health.UNHEALTHY)

    # Acting.

    def _requeue(self, options: dict[str, Any]) -> None:
        after = timedelta(days=conf.get().expires_days)
        route = options["by_route"]
        only = None
        if route:
            over = mailers_over(route)
            if not over:
                raise refuse("route", route, route_names())
            # What another mailer sends would wait for this route for ever.
            only = Filter(delivering=over)
        self._perform(options, Act.REQUEUE, only=only, route=route, gives_up_after=after)

    def _cancel(self, options: dict[str, Any]) -> None:
        self._perform(options, Act.CANCEL)

    def _hold(self, options: dict[str, Any]) -> None:
        new = hold_what_comes(options, self._using)
        self._perform(options, Act.HOLD, told={} if new is None else {"incoming": new})
        if new is not None and not self._json and not options["dry_run"]:
            self.stdout.write("Messages queued from now on are also held, until you run “email_outbox release”.")

    def _release(self, options: dict[str, Any]) -> None:
        after = timedelta(days=conf.get().expires_days)
        still_held, ended = release_what_comes(options, self._using)
        told = {"still_held": still_held} if still_held else None
        only = Filter(states=(State.PARKED,), causes=("held",))
        self._perform(options, Act.REQUEUE, only=only, told=told, gives_up_after=after)
        for words in () if self._json else (*ended, *still_held):
            self.stdout.write(words)

    def _resolve(self, options: dict[str, Any]) -> None:
        *names, resolution = options["words"]
        if resolution not in [one.value for one in Resolution]:
            raise refuse("resolution", resolution, [one.value for one in Resolution])
        options["ids"] = []
        for name in names:
            found = named_messages(name, self._using)
            if not found:
                words = f"There is no message {printable(name)!r}. Nothing was changed."
                raise CommandError(words, returncode=ExitCode.UNHEALTHY)
            options["ids"] += found
        self._perform(options, Act(f"resolve_{resolution}"))

    def _perform(
        self,
        options: dict[str, Any],
        act: Act,
        *,
        only: Filter | None = None,
        told: dict[str, Any] | None = None,
        **wishes: Any,
    ) -> None:
        chosen = filter_of(options, self._using)
        if chosen.is_empty and not options.get("all"):
            raise CommandError("Choose messages: give a filter, or --all for every message.", returncode=ExitCode.USAGE)
        told, wide = told or {}, chosen
        if only is not None:
            chosen = narrowed(chosen, only)
        # A number names its message. After a restore on another system everything is to be held, wherever it is from.
        is_for_all = options.get("all_environments") or chosen.ids or (act is Act.HOLD and options.get("all"))
        if not chosen.environments and not is_for_all:
            chosen = replace(chosen, environments=(conf.get().environment,))
        left = unchanged(options["run"], act, chosen, only, self._using)
        if left:
            told["unchanged"] = [asdict(one) for one in left]
        words, more = "changed", ""
        if options.get("dry_run"):
            found = affected(act, chosen, most=_MOST_COUNTED, using=self._using)
            count, words, more = found.count, "would change", "or more " * found.is_more
        elif len(left) < len(set(chosen.ids)) or not chosen.ids:
            count = self._do(options, act, chosen, **wishes)
        else:
            count = 0
        if not chosen.ids:
            route = wishes.get("route", "")
            why = why_not(
                options["run"], act, chosen, wide=wide, only=only, route=route, count=count, using=self._using
            )
            told |= {"why": why} if why else {}
        self._tell(count, f"{more}{words}", told)
        if left:
            raise CommandError(" ".join(one.why for one in left), returncode=ExitCode.UNHEALTHY)

    def _do(self, options: dict[str, Any], act: Act, chosen: Filter, **wishes: Any) -> int:
        actor, reason = options["actor"] or user(), options["reason"]
        with bars(self._console) as progress:
            done = perform(act, chosen, actor=actor, reason=reason, using=self._using, progress=progress, **wishes)
        return done.count

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
            contents = many(pruned.contents, "content", "contents")
            done = "would be" if options["dry_run"] else "were"
            self.stdout.write(f"{contents} and {many(pruned.messages, 'message', 'messages')} {done} removed")

    def _import(self, options: dict[str, Any]) -> None:
        settings = conf.get()
        if options["mailer"] and options["mailer"] not in all_mailers():
            raise refuse("mailer", options["mailer"], all_mailers())
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
                self.stdout.write(f"not imported: {printable(line)}")
            self.stdout.write(
                f"{many(found.queued, 'message', 'messages')} and "
                f"{many(found.suppressed, 'suppressed address', 'suppressed addresses')} "
                f"{'were' if options['apply'] else 'would be'} taken over for the mailer {queue.mailer!r}; "
                f"{found.repeated} were here already, {found.expired} have expired, {len(found.unreadable)} unreadable"
            )
            if not options["apply"]:
                self.stdout.write("Nothing was changed. Stop the other app's sender, then run it again with --apply.")
        self._exit(Health.UNHEALTHY if found.unreadable else Health.HEALTHY)

    # Saying.

    def _tell(self, count: int, words: str, told: dict[str, Any] | None = None) -> None:
        if self._json:
            self._print_json({"count": count} | (told or {}))
        else:
            self.stdout.write(f"{many(count, 'recipient', 'recipients')} {words}")
            if why := (told or {}).get("why"):
                self.stdout.write(why)

    def _print_now(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()  # a pipe would keep it until there is more

    def _exit(self, health: Health) -> None:
        if health is not Health.HEALTHY:
            raise SystemExit(int(EXIT_CODES[health]))


def _nothing(parser: ArgumentParser) -> None:
    pass


def _watching(parser: ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="refresh every second, until Ctrl-C")
    _all_environments(parser)


def _one_message(parser: ArgumentParser) -> None:
    parser.add_argument("id", help="a message's number, a Message-ID, or an address, for its newest messages")


def _filters(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="only these messages")
    _acting(parser)


def _holding(parser: ArgumentParser) -> None:
    _filters(parser)
    add_incoming(parser)


def _releasing(parser: ArgumentParser) -> None:
    _filters(parser)
    words = "only for what “hold --incoming” takes, too; a release ends holds on incoming messages anyway"
    parser.add_argument("--incoming", action="store_true", help=words)


def _acting(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every message")
    add_filters(parser)
    _all_environments(parser)
    parser.add_argument("--dry-run", action="store_true", help="only count what would change")
    add_record(parser)


def _all_environments(parser: ArgumentParser) -> None:
    words = "include messages that other environments queued; by default only this site's own ENVIRONMENT"
    parser.add_argument("--all-environments", action="store_true", help=words)


def _requeueing(parser: ArgumentParser) -> None:
    _filters(parser)
    parser.add_argument("--by-route", default="", metavar="ALIAS", help="only by this route, if the mailer uses it")


def _resolution(parser: ArgumentParser) -> None:
    words = f"messages by number or Message-ID, then one of {', '.join(one.value for one in Resolution)}"
    parser.add_argument("words", nargs="+", metavar="WORD", help=words)
    _acting(parser)


def _listing(parser: ArgumentParser) -> None:
    add_filters(parser)
    parser.add_argument("--limit", type=int, default=50, help="maximum number of lines, newest first; 50 by default")


def _importing(parser: ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", required=True, choices=[one.value for one in Source])
    parser.add_argument("--mailer", help="alias of the mailer that delivers; by default that of the default outbox")
    parser.add_argument("--apply", action="store_true", help="import; without it, only show what would be imported")


def _default_mailer() -> str:
    return delivering_alias()


def _pruning(parser: ArgumentParser) -> None:
    parser.add_argument("--content-after", type=age, help="age of deleted content, such as 7d; by default CONTENT_DAYS")
    parser.add_argument("--journal-after", type=age, help="age of deleted journal entries; by default JOURNAL_DAYS")
    _all_environments(parser)
    parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")


def _age_or(age: timedelta | None, *, days: float) -> timedelta:
    # 0s is an answer too.
    return age if age is not None else timedelta(days=days)
