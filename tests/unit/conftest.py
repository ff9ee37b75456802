"""No unit test reaches the network."""

from tests.offline import cache_with_layer, offline

__all__ = ["cache_with_layer", "offline"]
