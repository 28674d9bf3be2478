"""Many messages, several workers, and a server that fails in every way now and then."""
