"""`manage.py email_worker`: delivers what the outbox holds, until it is told to stop."""

import atexit
import json
import logging
import os
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from reliable_email import conf
from reliable_email.backends.failover import routes_for
from reliable_email.backends.routes import all_mailers, delivering_alias, mailers_over, outbox_mailers
from reliable_email.checks import TAG
from reliable_email.delivery.route import Route
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.diagnosis.verdict import ExitCode
from reliable_email.exceptions import InvalidMailer
from reliable_email.management.database_errors import DatabaseCommand
from reliable_email.management.screens.terminal import add_plain_option, live_console
from reliable_email.outbox.keyring import KeyMissing, configured_keyring
from reliable_email.outbox.worker.process import Worker, WorkerFailed, WorkerOptions
from reliable_email.outbox.worker.stopping import Stopping
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.questions.filters import outbox_database
from reliable_email.values import many

if TYPE_CHECKING:
    from rich.console import Console

logger = logging.getLogger("reliable_email.outbox")


class Command(DatabaseCommand):
    """One worker process with several connections; run as many as you like, on as many machines.

    SIGTERM, SIGINT and SIGHUP end it in two stages: the first finishes the messages in hand, a second one (or the end
    of STOP_SECONDS) does not wait for replies any more. SIGHUP stays ignored where `nohup` has made it so.
    """

    help = "Deliver queued messages."
    # No others: they would import every page of the site, and a page that is broken must not stop the mail.
    requires_system_checks = (TAG,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--connections", type=int, help="the maximum number of connections; by default CONNECTIONS")
        parser.add_argument("--batch", type=int, help="the maximum number of recipients of one claim; by default BATCH")
        parser.add_argument("--routes", help="use only these routes, separated by commas")
        parser.add_argument("--mailers", help="deliver only for these mailers, separated by commas")
        parser.add_argument("--until-empty", action="store_true", help="exit when nothing is due or claimed")
        parser.add_argument("--max-messages", type=int, help="exit after about this number of transactions")
        parser.add_argument("--database", help="alias of the database; by default the router's choice")
        parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
        add_plain_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        settings = conf.get()
        for name in ("connections", "batch", "max_messages"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be at least 1.", returncode=ExitCode.USAGE)
        mailers, routes = _names(options["mailers"]), _names(options["routes"])
        using = outbox_database(options["database"])
        _refuse_in_vain(mailers, routes, using)
        worker = Worker(
            WorkerOptions(
                using=using,
                environment=settings.environment,
                connections=options["connections"] or settings.connections,
                batch=options["batch"] or settings.batch,
                lease_seconds=settings.lease_seconds,
                poll_seconds=settings.poll_seconds,
                final_reply_seconds=settings.final_reply_seconds,
                domain_connections=settings.domain_connections,
                stop_seconds=settings.stop_seconds,
                crash_limit=settings.crash_limit,
                content_days=settings.content_days,
                journal_days=settings.journal_days,
                only_mailers=None if mailers is None else _delivering(mailers),
                only_routes=routes,
                until_empty=options["until_empty"],
                max_transactions=options["max_messages"],
                listen=settings.notify,
                standby_mailers=outbox_mailers(),
                probe_seconds=None if options["until_empty"] else settings.probe_seconds,
                keyring=configured_keyring(),
            ),
            routes_of=_routes_of,
            store=DatabaseRouteStateStore(using),
        )
        console = live_console(self.stdout, options) if options["verbosity"] > 0 else None
        # In a screen its title says it.
        tell = self._tell if console is None and options["verbosity"] > 0 else None
        stages = Stopping(worker, settings.stop_seconds, tell=tell)
        with stages, _screen(console, worker, stages):
            if console is None and options["verbosity"] > 0 and not options["json"]:
                self._say(f"worker {worker.name}, {worker.options.connections} connections, database {using!r}")
            try:
                transactions = worker.run()
            except (KeyMissing, WorkerFailed) as error:
                raise CommandError(str(error), returncode=ExitCode.UNHEALTHY) from error
        if options["json"]:
            told = {
                "worker": worker.name,
                "transactions": transactions,
                "unknown": worker.left_unknown,
                "stopped_by": stages.signal_name,
            }
            self._say(json.dumps(told))
        elif options["verbosity"] > 0:
            done = many(transactions, "transaction", "transactions")
            words = f"{done}, ended{f' by {stages.signal_name}' * stages.was_told}"
            if worker.left_unknown:
                unknown = many(worker.left_unknown, "recipient is unknown", "recipients are unknown")
                words += f"; {unknown}: the last replies were not waited for"
            self._say(words)

    def _say(self, words: str) -> None:
        """Write a line. A disk that is full of logs, or a reader that has gone, stops no mail."""
        try:
            self.stdout.write(words)
            self.stdout.flush()  # for whoever reads a pipe: Django before 6.0 leaves it in a buffer
        except (OSError, ValueError, AttributeError) as error:  # the last one where there is no stream at all
            logger.warning("The worker cannot write to its output, and works on: %s", error, extra=log_fields())
            if isinstance(error, BrokenPipeError):
                self._let_go()  # a pipe stays broken; a disk may have space again, for a log on the same descriptor
            else:
                atexit.register(self._let_go)

    def _let_go(self) -> None:
        """Write nothing more where nothing can be written: the interpreter would try, and change the exit code."""
        with suppress(OSError, ValueError, AttributeError):
            try:
                self.stdout.flush()
            except OSError:
                with Path(os.devnull).open("w") as nowhere:
                    os.dup2(nowhere.fileno(), self.stdout.fileno())

    def _tell(self, words: str) -> None:
        self.stderr.write(words)


def _screen(console: "Console | None", worker: Worker, stages: Stopping) -> AbstractContextManager[None]:
    if console is None:
        return nullcontext()
    # What it shows costs memory that a worker without a terminal has no use for.
    from reliable_email.management.screens.working import worker_screen

    return worker_screen(console, worker, is_ending=lambda: stages.was_told)


def _routes_of(mailer: str) -> Sequence[Route]:
    return routes_for(mailer)


def _refuse_in_vain(mailers: Sequence[str] | None, routes: Sequence[str] | None, using: str) -> None:
    """A worker for what does not exist, or for what it never meets, would idle without a word."""
    for option, given in (("--mailers", mailers), ("--routes", routes)):
        if given is not None and not given:
            raise CommandError(f"{option} needs at least one name.", returncode=ExitCode.USAGE)
    if not mailers and not routes:
        return
    from reliable_email.management.names import refuse, refuse_elsewhere, route_names  # few workers are given names

    for name in mailers or ():
        if name not in all_mailers():
            raise refuse("mailer", name, all_mailers())
        refuse_elsewhere(name, using)
    for name in routes or ():
        if name not in route_names():
            raise refuse("route", name, route_names())
        if mailers and not set(_delivering(mailers)) & set(mailers_over(name)):
            words = f"None of these mailers sends by the route {name!r}."
            raise CommandError(words, returncode=ExitCode.USAGE)


def _delivering(mailers: Sequence[str]) -> tuple[str, ...]:
    """The mailers that deliver: an outbox's own name, which the application uses, is as good."""
    found: dict[str, None] = {}
    for name in mailers:
        found[name] = None
        with suppress(InvalidMailer):  # a check says what is wrong with it
            found[delivering_alias(name)] = None
    return tuple(found)


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())
