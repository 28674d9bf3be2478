"""What tests of a site's e-mail need: servers that misbehave on purpose, certificates, simulated providers.

Nothing here is imported by the package itself. Importing this module needs Django alone; certificates need
`cryptography`.
"""
