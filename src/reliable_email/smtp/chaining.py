"""Whether the next job's envelope may go out behind a terminator, and what a failed try says about the server.

Chaining is never proven, only not yet disproved: some servers refuse what is buffered when they write the final reply,
some throw it away, and both depend on how the bytes were cut into segments. So a chained envelope that comes to
nothing was *not asked*, the job is asked again by itself, and only the second answer tells whose fault it was:

* it gets further than the chained one did: the server mishandles chaining;
* it is answered alike: chaining made no difference.

A connection that is lost between a terminator and its final reply, while an envelope was out behind it, counts against
chaining at once: there the price of a second try is an unknown outcome.
"""

from dataclasses import dataclass

from reliable_email.smtp import habits
from reliable_email.smtp.events import NotAsked
from reliable_email.smtp.options import ConnectionOptions
from reliable_email.smtp.transaction import Job, Transaction


@dataclass(frozen=True, slots=True)
class _Question:
    job: Job
    event: NotAsked


class Trial:
    """One stream of jobs' part in finding out, over all its connections. Close it in the end."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._server = options.host, options.port
        self._is_asking = False
        self._questions: dict[int, _Question] = {}  # by the id of the job, which is kept alive here

    def may_chain(self) -> bool:
        """Whether an envelope may go out behind the terminator that is being sent."""
        if self._options.chaining is not True:
            if self._options.chaining is False or not habits.may_chain(*self._server, self):
                return False
            self._is_asking = True
        return True

    def goes_alone(self, job: Job) -> bool:
        """Whether the job must not be chained: it was, and was not asked; or a fresh connection is wanted for it."""
        return job.is_repeat or id(job) in self._questions

    def flights_are_lost(self) -> bool:
        """Whether the server hung up on messages in flight."""
        return habits.of(*self._server).loses_flights

    def flight_was_lost(self) -> None:
        """A message in flight became unknown."""
        habits.learn_flights_are_lost(*self._server)

    def passed(self) -> None:
        """A chained envelope got its 354."""
        if self._is_asking:
            self._is_asking = False
            habits.chaining_passed(*self._server, self)

    def not_asked(self, job: Job, event: NotAsked) -> None:
        """A chained envelope came to nothing."""
        if event.counts_at_once:
            self._blame()
        self._questions[id(job)] = _Question(job, event)
        if self._options.chaining == "auto":
            habits.question_chaining(*self._server, self)
            self._is_asking = True

    def blame(self) -> None:
        """The final reply itself complained about what stood behind the terminator."""
        self._blame()

    def is_wanted(self, job: Job) -> None:
        """The job's content is wanted, now that it was asked by itself."""
        question = self._questions.pop(id(job), None)
        if question is not None:
            if question.event.is_telling:
                self._blame()
            self._withdraw()

    def concluded(self, transaction: Transaction) -> None:
        """The job's story is told."""
        if not self._questions:
            return
        question = self._questions.pop(id(transaction.job), None)
        if question is None:
            return
        codes = {result.reply.code for result in transaction.results.values() if result.reply is not None}
        before = question.event.failure.reply
        if codes and question.event.is_telling and (before is None or before.code not in codes):
            self._blame()
        self._withdraw()

    def close(self) -> None:
        """Nothing more is found out here."""
        self._questions.clear()
        self._withdraw()

    def _blame(self) -> None:
        habits.learn_chaining_is_mishandled(*self._server)

    def _withdraw(self) -> None:
        if self._is_asking and not self._questions:
            self._is_asking = False
            habits.withdraw(*self._server, self)
