"""Bringing the payments of an earlier moment back, step by step, so that it can be resumed.

`copy` makes the table of that moment, `verification` looks at it, `writes` stops payments,
`reconciliation` carries over what was settled since, `marking` marks what may have been,
`repointing` moves the stack, `journal` keeps in tags of the copy how far that has come,
`restoration` and `undoing` are the orders of the steps, which share those in `switch`. `rows` says
what a payment's row is, `reading` reads many.
"""
