"""The pages: `path("mail/", include("reliable_email.urls"))`."""

from django.urls import URLPattern, URLResolver, path

from reliable_email.views.overview import overview

app_name = "reliable_email"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", overview, name="overview"),
]
