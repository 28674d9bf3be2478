"""Mail as a shop sends it: orders, now and then a password reset, and a newsletter from another domain."""

import random
from dataclasses import dataclass

from django.core.mail import EmailMultiAlternatives
from django.utils.html import format_html

from demo.live.troubles import GREYLISTED, NEWS, NOBODY, SHOP
from reliable_email.delivery.submission import DeliveryOptions, Priority

_DOMAINS = ("customer.example", "company.example", "mailbox.example")
_NAMES = ("ada", "grace", "alan", "edsger", "barbara", "donald", "hedy", "tim", "radia", "jon")
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.4, 1.6
_STRANGE_SHARE = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message of the shop."""

    sender: str
    recipient: str
    subject: str
    text: str
    priority: Priority

    def send(self) -> None:
        """By the project's default mailer: into the outbox."""
        message = EmailMultiAlternatives(self.subject, self.text, self.sender, [self.recipient])
        message.attach_alternative(format_html("<h1>{}</h1><p>{}</p>", self.subject, self.text), "text/html")
        message.delivery_options = DeliveryOptions(priority=self.priority)  # type: ignore[attr-defined]
        message.send()


def letter(number: int, chance: random.Random) -> Letter:
    """Draw one."""
    recipient = f"{chance.choice(_NAMES)}@{chance.choice(_DOMAINS)}"
    if chance.random() < _STRANGE_SHARE:
        recipient = chance.choice((*NOBODY, GREYLISTED))
    kind = chance.random()
    if kind < 0.15:
        return Letter(
            sender=f"Events <news@{NEWS}>",
            recipient=recipient,
            subject="What is on this week",
            text="Concerts, talks and a fair.\n",
            priority=Priority.BULK,
        )
    if kind < 0.25:
        return Letter(
            sender=f"Shop <accounts@{SHOP}>",
            recipient=recipient,
            subject="Choose a new password",
            text="Somebody asked for a new password. Was it you?\n",
            priority=Priority.HIGH,
        )
    return Letter(
        sender=f"Shop <orders@{SHOP}>",
        recipient=recipient,
        subject=f"Your order no. {number}",
        text="Thank you, your order is on its way.\n",
        priority=Priority.NORMAL,
    )


def pause_seconds(chance: random.Random) -> float:
    """Until the next one."""
    return chance.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)
