"""The pages of this package; see `urls`."""
