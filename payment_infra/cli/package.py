"""`payment-infra package`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.artifacts import build_artifacts, check_handlers
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import config_options, out_option
from payment_infra.files import write_file
from payment_infra.gateway_check import check_gateway
from payment_infra.layer import build_layer

if TYPE_CHECKING:
    from payment_infra.sources import Resolved


@click.command("package")
@out_option(
    "folder",
    "Where to write the zips; it must exist.  [default: dist, which is made]",
    "--out-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
)
@config_options("suffix", "gateway", "gateway_requirements")
@everywhere
def command(folder: Path | None, resolved: Resolved) -> None:
    """Write the zips of functions and dependencies.

    The same handlers give the same bytes on every machine. The dependencies are downloaded once,
    and then kept in the user's cache folder. A payment gateway of your own is imported first, to
    see that the functions can.

    \b
    Example:
      payment-infra package -o build
    """
    check_handlers(resolved.config)
    check_gateway(resolved.config)
    artifacts = [*build_artifacts(config=resolved.config), build_layer()]
    if folder is None:
        folder = Path("dist")
        folder.mkdir(exist_ok=True)
    for artifact in artifacts:
        write_file(folder / f"{artifact.name}.zip", artifact.body)
    for artifact in artifacts:  # now, so that nobody who stops reading is left with half of them
        path = folder / f"{artifact.name}.zip"
        click.echo(f"{path}  {len(artifact.body)} bytes  {artifact.digest}")
