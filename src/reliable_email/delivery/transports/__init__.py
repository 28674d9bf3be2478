"""Transports that are not our SMTP: other people's backends, and filters in front of any route."""
