"""One table of what routes say, run against both engines: the direct door and the queue."""
