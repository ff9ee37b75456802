"""What runs in AWS Lambda: one entry module per function, and what they share."""
