"""Bringing the payments of an earlier moment back, step by step, so that it can be resumed.

`copy` makes the table of that moment, or `backups` that of a backup; `verification` looks at it,
`writes` stops payments, `reconciliation` carries over what was settled since, `marking` marks what
may have been, `repointing` moves the stack. `journal` keeps beside the lock how far that has come,
`row_log` what was done about each payment. `restoration` and `undoing` are the orders of the steps,
which share those in `switch`; `resuming` lets payments in whatever happened. `rows` says what a
payment's row is, `reading` reads many.
"""
