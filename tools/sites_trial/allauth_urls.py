"""The pages of the site with allauth."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def broken(request: HttpRequest) -> HttpResponse:
    """A page with a fault."""
    raise RuntimeError("a page with a fault")


urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("api/auth/", include("rest_framework.urls")),
    path("broken/", broken),
]
