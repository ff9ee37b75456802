"""Comparing the payments' rows with what the gateway itself has.

`comparison` holds one row against what is listed of it, and is pure. `passes` reads the whole list
and the whole table, page by page, into the `spool`, a file; `fixing` writes what nobody has to
decide.
"""
