"""The servers of the trial, by name."""

from collections.abc import Mapping

from tests.servers.exim import Exim, EximFlights, EximMessageLimit, EximNonMailLimit
from tests.servers.haraka_server import Haraka
from tests.servers.mail_server import MailServer
from tests.servers.plain_postfix import Postfix, PostfixErrorLimit, PostfixMilter, PostfixPostscreen, PostfixRateLimit

_ALL: tuple[type[MailServer], ...] = (
    Haraka,
    Exim,
    EximFlights,
    EximMessageLimit,
    EximNonMailLimit,
    Postfix,
    PostfixPostscreen,
    PostfixErrorLimit,
    PostfixRateLimit,
    PostfixMilter,
)
SERVERS: Mapping[str, type[MailServer]] = {one.name: one for one in _ALL}
