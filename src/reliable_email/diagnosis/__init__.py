"""Is mail working, and if not, why: configuration, a ladder of probes, and an explanation of every failure."""
