"""Diagnosis of a site's mail: checks of the configuration, a ladder of probes, and an explanation of every failure."""
