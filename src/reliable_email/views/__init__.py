"""The pages for operators: what is going on, and what to do about it.

Plain server-rendered pages that need neither JavaScript nor a network but the site's own. They hold no style and no
script of their own, so that they live under `default-src 'self'`. A page asks `store` and `monitoring` for values and
shows them; what a person does goes through `outbox` and the route state, and is recorded with who and why.
"""
