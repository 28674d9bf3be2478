"""The pages of a project that has nothing else."""

from django.urls import include, path

urlpatterns = [path("mail/", include("reliable_email.urls"))]
