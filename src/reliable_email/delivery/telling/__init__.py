"""The texts of deliveries: log records, traces, and sentences for people. Decides nothing."""
