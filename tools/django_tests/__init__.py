"""Django's own tests, with a door of this package between Django and its memory backend."""
