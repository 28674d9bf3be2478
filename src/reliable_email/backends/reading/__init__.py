"""The reading of mailers' OPTIONS and `EMAIL_*` settings: every problem with its place, none raised alone.

`options` has a table of the options of each door, `route_options` decides what one SMTP route is, `doors` reads the
others, and `email_settings` has the `EMAIL_*` names.
"""
