"""What routes remember, measured; see `__main__`."""
