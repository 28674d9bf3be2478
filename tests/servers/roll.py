"""The servers of the trial, by name."""

from collections.abc import Mapping

from tests.servers.courier import Courier
from tests.servers.exim import Exim, EximFlights, EximMessageLimit, EximNonMailLimit
from tests.servers.haraka_server import Haraka
from tests.servers.mail_server import MailServer
from tests.servers.opensmtpd import OpenSMTPD
from tests.servers.plain_postfix import Postfix, PostfixErrorLimit, PostfixMilter, PostfixPostscreen, PostfixRateLimit
from tests.servers.qpsmtpd import Qpsmtpd
from tests.servers.sendmail import Sendmail
from tests.servers.small_servers import Aiosmtpd, Nagle, Twisted

_ALL: tuple[type[MailServer], ...] = (
    Haraka,
    Exim,
    EximFlights,
    EximMessageLimit,
    EximNonMailLimit,
    Courier,
    OpenSMTPD,
    Sendmail,
    Qpsmtpd,
    Postfix,
    PostfixPostscreen,
    PostfixErrorLimit,
    PostfixRateLimit,
    PostfixMilter,
    Aiosmtpd,
    Twisted,
    Nagle,
)
SERVERS: Mapping[str, type[MailServer]] = {one.name: one for one in _ALL}
