"""Taking an environment away, and losing nothing that it was not told to.

`destruction` says what goes and what stays, and deletes the stack; `saving` writes to files first
what would be lost, `bucket_removal` takes the artifact bucket away.
"""
