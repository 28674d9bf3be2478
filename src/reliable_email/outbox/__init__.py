"""The queue in the application's own database: nothing lost, nothing sent twice.

A message goes through the rooms in this order: `intake` writes it in the caller's transaction, `worker` claims and
sends it by the statements of `rows`, `upkeep` looks after what is beside that, `operations` are what people do.
`rows.transitions` is the table of states and the place to begin; `wake`, `keyring`, `own_connection` and `faultpoints`
serve all rooms.
"""
