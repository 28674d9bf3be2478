"""The driver: sockets, deadlines and threads around `smtp.protocol`.

Read `transport` first: jobs go in, finished transactions come out, over connections that `pool` keeps. `stream` sends
one job after the other over a `connection`; `connect` makes the socket, `wire` reads and writes it, `learned_limits`
remembers what a server was found not to take.
"""
