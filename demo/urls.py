"""The demo's pages."""

import importlib.util

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", admin.site.urls)]
if importlib.util.find_spec("reliable_email.urls") is not None:
    urlpatterns.append(path("mail/", include("reliable_email.urls")))
