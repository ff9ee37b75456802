"""Bringing the payments of an earlier moment back, step by step, so that it can be resumed.

`copy` makes the table of that moment, `verification` looks at it, `writes` stops payments,
`reconciliation` carries over what was settled since, `repointing` moves the stack, `journal` keeps
in tags of the copy how far that has come, `restoration` and `undoing` are the orders of the steps.
"""
