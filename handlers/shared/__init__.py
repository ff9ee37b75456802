"""What the entry modules share: the payment domain, and its edges towards HTTP and AWS."""
