"""The edges towards AWS: clients, the payments' table, what stops them, reports, logs, metrics."""
