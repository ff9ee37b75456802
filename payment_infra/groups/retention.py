"""What becomes of stateful resources that are deleted or replaced."""

from payment_infra.config import StackConfig

DELETE = "Delete"
RETAIN = "Retain"
# Retains in every operation but a creation that fails: what that has made is empty, and would only
# take the names that the next attempt needs ("DeletionPolicy attribute"). An UpdateReplacePolicy
# cannot have it.
RETAIN_EXCEPT_ON_CREATE = "RetainExceptOnCreate"


def stateful(config: StackConfig) -> dict[str, str]:
    """Return the policies of a resource that holds data.

    A replacement always retains, since a changed suffix would replace the resource with its data.
    """
    return {
        "DeletionPolicy": RETAIN_EXCEPT_ON_CREATE if config.retain_data else DELETE,
        "UpdateReplacePolicy": RETAIN,
    }
