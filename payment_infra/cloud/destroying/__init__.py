"""Taking an environment away, and losing nothing that it was not told to.

`deletion` has the order of the work, and deletes the stack. `destruction` says what goes and what
stays, and why; `saving` writes to files first what would be lost. `bucket_removal` takes the
artifact bucket away.
"""
