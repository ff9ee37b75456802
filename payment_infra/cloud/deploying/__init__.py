"""Bringing an environment to what configuration and handlers are.

`deployment` is the order of the steps, by its `options`; `forecast` says what that would come to.
`preflight` checks before anything is changed, `previewing` shows what would be; `condition` tells
what the environment is like whatever is deployed, `shifting` what would end a canary, `consent`
what an update may not take back unasked. `release` says what is deployed and puts it into the
`bucket`, whose own stack `bootstrap` makes; `parameters` are their values. `importing` begins with
what a stack that is gone has kept, which `existing` finds. `pruning` deletes old versions of
functions.
"""
