"""An outbox with one of everything that can become of a message."""

from email.message import MIMEPart
from email.mime.image import MIMEImage

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

from reliable_email.delivery.content.building import build_submission
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.store.tables.messages import OutboxMessage
from tests.outbox.desk import worker
from tests.outbox.network import Network

USING = "default"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
RESET_LINK = "https://shop.example.com/reset/secret-token"


def own_image(data: bytes) -> MIMEPart | MIMEImage:
    """An image that HTML names by `cid:logo`."""
    image: MIMEPart | MIMEImage
    if django.VERSION >= (6, 0):
        image = MIMEPart()
        image.set_content(data, "image", "png", disposition="inline", cid="<logo>")
    else:
        image = MIMEImage(data, "png")
        image.add_header("Content-ID", "<logo>")
    return image


def letter(*to: str, subject: str = "Your order") -> EmailMultiAlternatives:
    """Text, HTML with a script and an image of its own, and an attachment with a hostile name."""
    message = EmailMultiAlternatives(subject, f"Hello,\n\n{RESET_LINK}\n", "shop@example.com", list(to))
    message.attach_alternative(
        f'<h1 style="color:teal">Hello</h1><img src="cid:logo" alt="logo"><script>alert(1)</script><p>{RESET_LINK}</p>',
        "text/html",
    )
    message.attach(own_image(PIXEL))
    message.attach("../invoice.html", "<script>alert(2)</script>", "text/html")
    return message


def queue(
    *to: str, subject: str = "Your order", keyring: Keyring | None = None, mailer: str = "routes"
) -> OutboxMessage:
    """Queue it."""
    return queue_message(letter(*to, subject=subject), keyring=keyring, mailer=mailer)


def queue_message(message: EmailMessage, *, keyring: Keyring | None = None, mailer: str = "routes") -> OutboxMessage:
    """Queue any message."""
    options = QueueOptions(mailer=mailer, using=USING, keyring=keyring or Keyring())
    [row] = enqueue([build_submission(message)], options)
    return row


def deliver(keyring: Keyring | None = None) -> None:
    """Let a worker take every message that is due to the network of `tests.outbox.network`."""
    worker(USING, Network().route(), keyring=keyring or Keyring()).run()
