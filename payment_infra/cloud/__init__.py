"""Every call to AWS. Clients are passed in, and errors are translated here, once."""
