"""Signals about messages and routes, for code that reacts to them.

All signals are sent with `send_robust`: an exception of a receiver is logged and has no other effect. The outbox sends
signals after the commit of the change, a direct send at once. `sender` is the class of the backend or of the worker.
Receivers must accept `**kwargs`, because later versions may add arguments.

| signal | sent when | keyword arguments |
|---|---|---|
| `message_queued` | the outbox has stored a message and the transaction is committed | `message_id`, `mailer` (alias), `outbox_id` |
| `attempt_finished` | one transaction on one route has ended | `message_id`, `mailer`, `attempt` (`delivery.report.Attempt`), `outbox_id` |
| `message_delivered` | every recipient of a message was accepted | `message_id`, `mailer`, `report` (`DeliveryReport`), `outbox_id` |
| `message_failed` | a message is finished, and some recipients don't have it or may not have it | `message_id`, `mailer`, `report`, `outbox_id` |
| `recipient_rejected` | one recipient was permanently refused | `message_id`, `mailer`, `address`, `outcome` (`RecipientOutcome`), `outbox_id` |
| `route_opened` | a route is taken out of use | `route` (alias), `reason` (`Cause`), `until` (aware; None if the configuration must be corrected), `evidence` (text) |
| `route_closed` | a route is in use again | `route`, `evidence` |

`message_id` is the Message-ID with its angle brackets; `outbox_id` is None for a direct send. "Opened" and "closed" refer
to the route's breaker, as in an electric circuit: no message uses a route whose breaker is open.
"""  # noqa: E501 - a row of a table is one line

from django.dispatch import Signal

message_queued = Signal()
attempt_finished = Signal()
message_delivered = Signal()
message_failed = Signal()
recipient_rejected = Signal()
route_opened = Signal()
route_closed = Signal()

__all__ = [
    "attempt_finished",
    "message_delivered",
    "message_failed",
    "message_queued",
    "recipient_rejected",
    "route_closed",
    "route_opened",
]
