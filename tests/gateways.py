"""Source of a gateway class, whole or with something wrong."""

GATEWAY = "handlers.shared.acme:Acme"
MEMBERS = {
    "retention": "KEY_RETENTION = timedelta(hours=24)",
    "init": "def __init__(self, secret): pass",
    "charge": "def charge(self, transaction, idempotency_key): pass",
    "find": "def find(self, idempotency_key): pass",
}


def gateway(head: str = "", bases: str = "", **members: str) -> str:
    """Return a module with the class Acme; without a head, it begins in line 3.

    Args:
        head: lines of the module before the class, from line 2 on.
        bases: what the class is derived from.
        members: take the place of their namesakes in MEMBERS; an empty one leaves that out.
    """
    body = [f"    {member}" for member in (MEMBERS | members).values() if member]
    lines = ["from datetime import timedelta", head, f"class Acme({bases}):", *body]
    return "\n".join(lines) + "\n"
