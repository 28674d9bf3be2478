"""Import paths that sites may have written into their code and settings stay what they are."""

from importlib import import_module

import pytest

# As they were exported, or named in the documentation, before the rooms of the package were laid out anew (dac01e0).
PATHS = {
    "reliable_email": "DeliveryError DeliveryOptions DeliveryReport InvalidMailer OnUnknown Outcome OutcomeUnknown "
    "Priority RecipientOutcome exceptions signals submit testing",
    "reliable_email.backends": "DefaultMailer ErrorMailBackend FailoverBackend OutboxBackend ReliableSMTPBackend smtp",
    "reliable_email.classification": "Cause Failure Scope classify classify_exception",
    "reliable_email.delivery.report": "Attempt DeliveryReport Outcome RecipientOutcome Recipients",
    "reliable_email.delivery.submission": "DeliveryOptions OnUnknown Priority",
    "reliable_email.env": "Mailers mailers",
    "reliable_email.exceptions": "AuthenticationFailed ConnectFailed ContentRefused DeliveryError Disconnected "
    "HostNotFound InvalidMailer MailerDoesNotExist OutcomeUnknown RecipientsRefused SenderRefused TimedOut",
    "reliable_email.integrations.celery": "",
    "reliable_email.integrations.health_check": "EmailCheck",
    "reliable_email.mailers": "DEFAULT_MAILER_ALIAS MailersHandler mailers",
    "reliable_email.models": "Action Attempt LatencyTotal OutboxMessage OutboxRecipient OutcomeTotal ProviderEvent "
    "RouteState Suppression Tally Worker",
    "reliable_email.monitoring.health": "Finding SiteHealth examine_site",
    "reliable_email.monitoring.metrics": "EmailCollector",
    "reliable_email.monitoring.tracing": "instrument",
    "reliable_email.providers": "DNSRecord Endpoint Provider Quota UnknownProvider canonical_name for_host get names",
    "reliable_email.signals": "attempt_finished message_delivered message_failed message_queued recipient_rejected "
    "route_closed route_opened",
    "reliable_email.smtp.oauth": "ClientCredentialsProvider RefreshTokenProvider",
    "reliable_email.smtp.oauth_assertions": "CertificateProvider ServiceAccountProvider",
    "reliable_email.testing": "delivery_of",
    "reliable_email.testing.actions": "",
    "reliable_email.testing.certificates": "",
    "reliable_email.testing.proxy": "CuttingProxy",
    "reliable_email.testing.pytest_plugin": "",
    "reliable_email.testing.reset": "reset",
    "reliable_email.testing.server": "Act Action ConnectionRecord Conversation Ending ReceivedMessage Script "
    "ScriptedServer Submission accept_then after again both close flood half handshake hang inject pause raw real "
    "reply reset slowly split stall trickle until_told",
    "reliable_email.testing.simulated": "",
    "reliable_email.urls": "",
}


@pytest.mark.parametrize("module", PATHS)
def test_a_path_that_sites_import_is_still_there(module: str) -> None:
    """Whatever room it comes from today."""
    found = import_module(module)
    assert [name for name in PATHS[module].split() if not hasattr(found, name)] == []
