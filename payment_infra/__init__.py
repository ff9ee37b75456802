"""Generate, ship and operate a resilient payment processing API on AWS as plain CloudFormation."""

__version__ = "0.1.0"
