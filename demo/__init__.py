"""A Django project as small as it can be, configured by the environment alone."""
