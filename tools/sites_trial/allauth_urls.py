"""The pages of the site with allauth."""

from django.urls import include, path

from tools.sites_trial.broken import broken

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("api/auth/", include("rest_framework.urls")),
    path("broken/", broken),
]
