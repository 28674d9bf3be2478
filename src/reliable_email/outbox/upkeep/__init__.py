"""The work of a worker besides delivering: leases, rescue, counters, signals, probes, and the threads for it.

`keeper` runs `duties`; `worker_row` and `registration` show who is at work; `threads` names a thread that dies or
hangs; `reconnect` outlives a database that restarts.
"""
