"""The database's side of `delivery.route_memory`: one row for each route, shared by all processes.

`route_state` reads and writes it, `openings` keeps the history, `learned_limits` is one row for each host, port and
kind of limit.
"""
