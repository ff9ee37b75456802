"""Looking at an environment that runs, and mending what its payments need.

`status` is one screen of it all; `alarms`, `dashboard`, `log_search` and `drift` look closer,
`subscriptions` says who is told. `dead_letters` and `redriving` see, repeat and remove what failed.
`transactions` reads the payments' rows, `export` writes them to a file, `queue_export` messages.
`by_hand` has the stack's payment-retry look after one payment, `showing` and `settling` by that;
`payment_list` lists those with a status.
"""
