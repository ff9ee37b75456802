"""What becomes of stateful resources that are deleted or replaced."""

from payment_infra.config import StackConfig

DELETE = "Delete"
RETAIN = "Retain"


def stateful(config: StackConfig) -> dict[str, str]:
    """Return the policies of a resource that holds data.

    A replacement always retains, since a changed suffix would replace the resource with its data.
    """
    return {
        "DeletionPolicy": RETAIN if config.retain_data else DELETE,
        "UpdateReplacePolicy": RETAIN,
    }
