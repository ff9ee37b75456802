"""The dependency layer: the wheels that handlers/requirements.txt pins.

Its key is a digest of that file, so rendering needs neither network nor wheels.
"""

from pathlib import Path

from payment_infra.artifacts import HANDLERS, LAYER, Artifact, layer_digest
from payment_infra.wheels import Download, Wheels

# Where Lambda's Python runtimes look in a layer ("Packaging your layer content").
FOLDER = "python"


def build_layer(
    root: Path = HANDLERS, cache: Path | None = None, download: Download | None = None
) -> Artifact:
    """Return the layer.

    Args:
        root: the folder of the handlers, with requirements.txt.
        cache, download: as for `Wheels.build`.

    Raises:
        PaymentInfraError: a wheel cannot be had or is not pure Python.
    """
    wheels = _wheels(root)
    return Artifact(LAYER, wheels.build(cache, download), wheels.digest)


def is_built(root: Path = HANDLERS, cache: Path | None = None) -> bool:
    """Whether the layer is in the cache.

    Raises:
        PaymentInfraError: requirements.txt cannot be read.
    """
    return _wheels(root).are_built(cache)


def _wheels(root: Path) -> Wheels:
    requirements = root / "requirements.txt"
    return Wheels(LAYER, "dependency layer", requirements, layer_digest(root), FOLDER)
