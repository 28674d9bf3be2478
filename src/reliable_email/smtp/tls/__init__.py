"""TLS to a mail server: contexts, the handshake, pins, and errors that say what to do.

`handshake` is the door. `contexts` builds one `ssl.SSLContext` for each demand on the certificate; `strictness` decides
whether RFC 5280's rules of form are demanded; `errors` explains a refusal, `probe` finds its reason by a second look.
"""
