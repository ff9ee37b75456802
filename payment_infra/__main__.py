"""`python -m payment_infra`, for where the console script is not on the path."""

from payment_infra.cli import main

main()
