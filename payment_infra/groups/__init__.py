"""Resource groups: each a frozen dataclass of resources, and the function that builds it.

Pure: no I/O, no clock, no boto3. What a group needs from another is an argument of its builder.
"""
