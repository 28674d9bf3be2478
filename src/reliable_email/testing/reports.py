"""The report of a message, also where nothing of this package has sent it."""

from reliable_email.delivery.report import DeliveryReport, Recipients


def delivery_of(message: object) -> DeliveryReport:
    """The message's report; an empty one where another backend took it, as Django's locmem does in tests."""
    report = getattr(message, "delivery", None)
    return report if isinstance(report, DeliveryReport) else DeliveryReport(recipients=Recipients({}))
