"""The one message that every client sends: text and HTML, about two kilobytes on the wire, or SPEED_BYTES."""

import base64
import os
from random import Random

from django.core.mail import EmailMultiAlternatives

SENDER = "shop@example.org"
_ITEMS = [(number, f"Widget of the series {number:03d}, green", 7 * number) for number in range(1, 7)]
_TEXT = (
    "Dear Ms Example,\n\nwe have your order {n}, and your payment. The parcel leaves our house tomorrow\n"
    "morning; a message with its number will follow as soon as it is on its way.\n\n"
    + "".join(f"  {number}. {name:<45}{price:5d}.50 EUR\n" for number, name, price in _ITEMS)
    + "\nIt goes to: 1 Example Road, 12345 Example City.\n\nYours,\nthe people of the shop\n"
)
_HTML = (
    "<html><body><p>Dear <b>Ms Example</b>,</p><p>we have your order {n}, and your payment. The parcel leaves\n"
    "our house tomorrow morning.</p><table>\n"
    + "".join(f"<tr><td>{number}</td><td>{name}</td><td>{price}.50 EUR</td></tr>\n" for number, name, price in _ITEMS)
    + "</table><p>Yours,<br>the people of the shop</p></body></html>\n"
)
# What a database cannot compress, so that its sizes are those of the worst mail.
_BYTES = max(0, int(os.environ.get("SPEED_BYTES", "0")) - 2000)
_MORE = base64.encodebytes(Random(1).randbytes(_BYTES * 3 // 4)).decode()


def message(number: int) -> EmailMultiAlternatives:
    """The message to customer `number`; no two have the same text."""
    made = EmailMultiAlternatives(
        f"Your order {number}", _TEXT.format(n=number) + _MORE, SENDER, [f"customer{number}@example.net"]
    )
    made.attach_alternative(_HTML.format(n=number), "text/html")
    return made
