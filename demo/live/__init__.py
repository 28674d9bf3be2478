"""The whole on this machine until Ctrl-C: `make demo-live`, or `python -m demo.live`."""
