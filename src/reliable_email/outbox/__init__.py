"""Nothing lost, nothing twice: enqueue, claim, journal, settle, rescue, and the worker that runs them."""
