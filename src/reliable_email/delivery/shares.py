"""How much of a quota each priority may use on this site."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

from reliable_email import conf
from reliable_email.delivery import quota
from reliable_email.delivery.words import Priority


def quota_shares() -> Mapping[Priority, float]:
    """By the settings; by their defaults where RELIABLE_EMAIL cannot be used, which is a check's business."""
    try:
        settings = conf.get()
    except ImproperlyConfigured:
        return quota.SHARES
    return quota.shares(soft_limit=settings.quota_soft_limit, reserve=settings.quota_reserve)
