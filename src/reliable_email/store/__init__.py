"""The tables, and the questions that are asked of them.

A queued message is two kinds of row, split by whether they change:

* `OutboxMessage` is written once: envelope, content, and the caller's wishes. It never changes until its content is
  pruned, so that the bytes of a large attachment are not copied at each change of state.
* `OutboxRecipient` is the queue: one small row for each recipient, and in it everything that changes. Its state *is*
  the state of the delivery; a message has no state of its own that could disagree with its recipients'.

That makes a queued send two INSERTs (one message; all of its recipients in one statement), makes a recipient that is
greylisted wait alone while the others are done, and makes settling the common message, with one recipient, one UPDATE.
The columns that a claim has to look at (`priority`, `due_at`, `mailer`, `environment`) are copied into the recipient's
row, where they never change apart from `due_at`.

`Attempt` is the journal of what was said on the wire, and append-only; `ProviderEvent` is what a provider reported
afterwards, append-only too. `RouteState` is what all processes share about a route; `Worker` is who is at work;
`Action` is what people did; `Tally` is what the charts show, `OutcomeTotal` and `LatencyTotal` what monitors are told.
"""
