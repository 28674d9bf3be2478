"""The pages of the shop."""

from django.apps import apps
from django.urls import include, path

from tools.sites_trial.broken import broken

urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),
    path("broken/", broken),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
