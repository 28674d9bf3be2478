"""The pages of `metered`."""

from django.urls import include, path

urlpatterns = [path("mail/", include("reliable_email.urls"))]
