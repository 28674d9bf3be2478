"""One message over ordered routes: who is asked next, what an answer means, and the report of it.

Read `passages.passage` first: the only place that decides, for direct sends and for the queue. `policy` says what is
done about a cause, `breaker` and `quota` when a route is left alone, `route_memory` what is remembered of routes
between sends.
`direct` sends at once; `content` builds what is sent, `transports` adapts other backends, `telling` writes the log.
"""
