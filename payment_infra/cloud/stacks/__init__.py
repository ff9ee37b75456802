"""One CloudFormation stack, whatever it holds.

`stack` is its calls, `state` what it is at a moment and what others have made of it since, by
`tokens` who did. `change_sets` makes and executes changes, `described` says what they are,
`clearing` deletes what of them nobody executes, `following` yields the events of an operation until
that has ended, `settling` brings a stack to rest. `intervention` watches, cancels and rolls back,
`failure` is how an operation fails, `diagnosis` finds the cause of that, `leftovers` knows what a
stack leaves behind and how that is removed. `operator` is who is told, and asked.
"""
