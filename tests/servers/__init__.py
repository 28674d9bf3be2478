"""Real servers of other hands, started privately on free loopback ports and stopped with the test."""
