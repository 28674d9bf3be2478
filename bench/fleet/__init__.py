"""Fleets of task queues under misfortunes: see `__main__`."""
