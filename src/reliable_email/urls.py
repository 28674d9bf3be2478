"""The pages of this package: `path("mail/", include("reliable_email.urls"))`."""

from django.urls import path

from reliable_email.views.health import health, live
from reliable_email.views.metrics import metrics

app_name = "reliable_email"
urlpatterns = [
    path("live/", live, name="live"),
    path("health/", health, name="health"),
    path("metrics/", metrics, name="metrics"),
]
