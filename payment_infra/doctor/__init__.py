"""What this machine and this account have of what payment-infra needs; nothing is changed.

`machine` looks at Python and its libraries, `access` asks AWS with the tool's own calls, and
`simulation` asks IAM about the calls that would change something.
"""
