"""The conversion of Django's message to the bytes that are sent: `building` is the door, `serializer` the fast path."""
