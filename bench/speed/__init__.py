"""How fast, beside the peers: `make bench` (bench/README.md)."""
