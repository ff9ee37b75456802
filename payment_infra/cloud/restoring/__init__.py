"""Bringing the payments of an earlier moment back, step by step, so that it can be resumed.

`restoration` and `undoing` are the orders of the steps, which share those in `switch`; `agreement`
is what a person is asked, `encryption` what a copy is encrypted with, `work` what one run works
with. `resuming` lets payments in whatever happened. `copy` makes the table of that moment, or
`backups` that of a backup; `verification` looks at it, `carry_over` brings along what was
settled since, `marking` marks what may have been, `repointing` moves the stack, and `comparing`
holds the rows against the gateway's list. `row_log` keeps what was done about each payment. `rows`
says what a payment's row is, `reading` reads many.
"""
