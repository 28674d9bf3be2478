"""SMTP submission that reports what became of a message for every recipient. No Django in here.

Read `transaction` first: the transport seam, the values that go into a transport and come out of it. `stages`,
`failures`, `options`, `deadline` and `dsn` are the values that all rooms share; `resolve` and `shared_calls` ask the
operating system. `syntax` reads and writes the protocol's text, `protocol` is a session without I/O, `tls` and `oauth`
are what their names say, and `driver` connects all of them to sockets: `driver.transport` is its door.
"""
