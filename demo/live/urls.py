"""The demo's pages, and that of the live demo."""

from django.urls import URLPattern, URLResolver, path

from demo.live import pages
from demo.urls import urlpatterns as _urlpatterns

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pages.home, name="home"),
    path("send", pages.send, name="send"),
    path("trouble", pages.trouble, name="trouble"),
    *_urlpatterns,
]
