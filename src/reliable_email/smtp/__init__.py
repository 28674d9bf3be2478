"""The wire: SMTP submission that knows, for every recipient, what became of a message. No Django in here."""
