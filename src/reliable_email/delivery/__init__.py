"""One submission over ordered routes: what to try, what to make of it, and the report of it."""
