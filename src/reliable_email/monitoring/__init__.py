"""Monitoring of the site's mail: its health, its metrics, its traces."""
