"""A page with a fault, which the admins hear of."""

from django.http import HttpRequest, HttpResponse


def broken(request: HttpRequest) -> HttpResponse:
    """A page with a fault."""
    raise RuntimeError("a page with a fault")
