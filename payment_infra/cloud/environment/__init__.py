"""One environment: the stack that is ours, and what more than one kind of work asks about it.

`ownership` says which stack is ours, `environment` finds it and names its resources, `listing`
finds all of them, `address` says where its API answers, `smoke` calls it, `invoking` the functions
behind that. `locking` lets one operation work on it at a time, `journal` says how far its restores
have come; both are kept in the `operations_table`. `intake` stops payments and lets them in,
`findings` tells what stops them, `in_flight` how many are not settled, `live` which versions they
go through, `callers` who may call. `stack_policy` keeps updates from replacing what holds data,
`backed_up` tells which tables AWS Backup backs up, and whether it does.
"""
