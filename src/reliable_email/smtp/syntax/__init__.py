"""The text of SMTP: replies, addresses in angle brackets, MIME that must not change. Pure functions over bytes.

`replies` parses what servers say (RFC 5321 §4.2), `charsets` decodes it, `paths` writes addresses and compares them,
`mime` reads and writes content without touching what may be signed.
"""
