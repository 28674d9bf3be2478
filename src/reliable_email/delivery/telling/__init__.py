"""What deliveries tell: log records, traces, and the sentences for people. Decides nothing."""
