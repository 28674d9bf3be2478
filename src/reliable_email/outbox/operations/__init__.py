"""Operations on queued mail by people and programs: cancel, hold, requeue, resolve, erase, export, import, prune.

Read `operate` first. Each act leaves an `Action` that says who did it and why. `suppressed` is the list of addresses
that get no mail, `provider_events` what providers report afterwards.
"""
