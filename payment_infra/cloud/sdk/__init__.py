"""What is nearest to the SDK, and knows nothing of this product.

`session` makes the clients, `errors` turns what they raise into one line, `polling` looks and tries
again; `tables`, `keys`, `queues`, `logs` and `metric_data` read one service each.
"""
