"""What is told to machines about the site's mail: its health, its metrics, its traces."""
