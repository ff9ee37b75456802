"""One CloudFormation stack, whatever it holds.

`stack` is its state and its calls, `change_sets` makes, shows and executes changes, `following`
yields the events of an operation until that has ended, `settling` brings a stack to rest.
`intervention` cancels and rolls back, `diagnosis` finds the cause of a failure, `leftovers` removes
what a creation that was undone has left. `operator` is who is told, and asked.
"""
