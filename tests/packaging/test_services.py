"""A missing service is a skip on a laptop and a failure on a machine that should have it."""

import pytest

from tests import services


@pytest.fixture
def missing_service(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a service that is not here."""
    monkeypatch.setattr(services, "SERVICES", {"telex": lambda: "no line", "air": lambda: None})
    monkeypatch.delenv("RELIABLE_EMAIL_WITHOUT", raising=False)
    return "telex"


def test_missing_service_skips_with_the_reason(missing_service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names service and lack."""
    monkeypatch.setenv("RELIABLE_EMAIL_REQUIRE", "air")
    with pytest.raises(pytest.skip.Exception, match="telex: no line"):
        services.require("air", missing_service)


@pytest.mark.parametrize("demanded", ["all", "air,telex", "telex"])
def test_demanded_service_fails(missing_service: str, demanded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By "all" or by name."""
    monkeypatch.setenv("RELIABLE_EMAIL_REQUIRE", demanded)
    with pytest.raises(pytest.fail.Exception, match="telex is demanded"):
        services.require("air", missing_service)


def test_unwanted_service_skips_though_it_is_here(missing_service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix does without what does not depend on the pair."""
    monkeypatch.setenv("RELIABLE_EMAIL_WITHOUT", "air")
    with pytest.raises(pytest.skip.Exception, match="air: not wanted"):
        services.require("air")


def test_present_services_let_the_test_go_on(missing_service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised, also where all are demanded."""
    monkeypatch.setenv("RELIABLE_EMAIL_REQUIRE", "all")
    services.require("air")
