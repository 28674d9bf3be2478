"""What happened to a message or a route, for code that wants to act on it.

All are sent with `send_robust`: a receiver that raises is logged and changes nothing. Those of the outbox are sent
after the commit that wrote what they tell, those of a direct send at once. `sender` is the class of the backend, or of the
worker, that did it. Receivers take `**kwargs`: a later version may tell more.

| signal | sent when | keyword arguments |
|---|---|---|
| `message_queued` | the outbox has stored a message and the transaction is committed | `message_id`, `mailer` (alias), `outbox_id` |
| `attempt_finished` | one transaction on one route is over | `message_id`, `mailer`, `attempt` (`delivery.report.Attempt`), `outbox_id` |
| `message_delivered` | every recipient of a message was accepted | `message_id`, `mailer`, `report` (`DeliveryReport`), `outbox_id` |
| `message_failed` | a message is finished, and some recipients have not got it or may not have | `message_id`, `mailer`, `report`, `outbox_id` |
| `recipient_rejected` | one recipient was refused for good | `message_id`, `mailer`, `address`, `outcome` (`RecipientOutcome`), `outbox_id` |
| `route_opened` | a route was taken out of use | `route` (alias), `reason` (`Cause`), `until` (aware or None: a person is needed), `evidence` (text) |
| `route_closed` | a route is in use again | `route`, `evidence` |

`message_id` is the Message-ID with its angle brackets; `outbox_id` is None for a direct send. "Opened" and "closed" are
a breaker's words, as in an electric circuit: opened means that nothing goes through.
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
