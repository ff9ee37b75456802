"""What is done with a deployed stack: looking at it, its failed payments, bringing it back."""
