"""The demo as an app: its commands."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Nothing but a name."""

    name = "demo"
