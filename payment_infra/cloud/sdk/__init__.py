"""What is nearest to the SDK, and knows nothing of this product.

`configuration` reads how AWS is reached, and `endpoints` where its services are; `boto` is the
SDK's session, and `session` makes the clients, `network` is the way there; `errors` turns what they
raise into one line, `polling` looks and tries again, and `patience` calls again what is throttled;
`tables`, `keys`, `queues`, `logs` and `metric_data` read one service each.
"""
