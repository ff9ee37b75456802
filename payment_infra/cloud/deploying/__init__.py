"""Bringing an environment to what configuration and handlers are.

`deployment` is the order of the steps, by its `options`: `planning` works out what is to be done,
`agreement` shows it and asks, `execution` does it within its time, `completing` adds the second
update that some need, `protection` is what keeps the stack from harm before and after. `forecast`
says what all that would come to.

`preflight` checks before anything is changed, with `gateway_key` the gateway's secret; `previewing`
says what would be; `condition` tells what the environment is like whatever is deployed, `shifting`
what would end a canary, `consent` what an update may not take back unasked, `moving` which payments
it would leave to another gateway.
`release` says what is deployed and puts it into the `bucket`, whose own stack `bootstrap` makes;
`parameters` are their values. `importing` begins with what a stack that is gone has kept, which
`existing` finds. `pruning` deletes old versions of functions.
"""
