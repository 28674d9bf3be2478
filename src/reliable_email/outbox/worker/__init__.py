"""A worker process: lines that deliver, driven by one thread.

Read `process` first, then `loop`. A line (`claim_task`) claims recipients and takes each claim over the routes
(`batch`), pausing at each of `steps`; `committer` writes for all lines that wait at the same moment, `blocking` runs
what would hold the loop up. `ahead` loads what a deploy must not take away.
"""
