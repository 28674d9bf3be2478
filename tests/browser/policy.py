"""A site that allows its pages nothing but its own files."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class OwnFilesOnly:
    """Adds the site's policy to the one that an answer has: a browser obeys both.

    What has given itself a sandbox is left as it is, as Django's own middleware leaves every answer that has a policy.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        own = response.get("Content-Security-Policy", "")
        if "sandbox" not in own:
            policies = [own, "default-src 'self'"] if own else ["default-src 'self'"]
            response["Content-Security-Policy"] = ", ".join(policies)
        return response
