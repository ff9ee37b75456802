"""`payment-infra package`."""

from __future__ import annotations

from pathlib import Path

import click

from payment_infra.artifacts import build_artifacts, check_handlers
from payment_infra.cli.everywhere import everywhere
from payment_infra.files import write_file
from payment_infra.layer import build_layer


@click.command("package")
@click.option(
    "-o",
    "--out-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where to write the zips; it must exist.  [default: dist, which is made]",
)
@everywhere
def command(out_dir: Path | None) -> None:
    """Write the zips of functions and dependencies.

    The same handlers give the same bytes on every machine. The dependencies are downloaded once,
    and then kept in the user's cache folder.

    \b
    Example:
      payment-infra package -o build
    """
    check_handlers()
    artifacts = [*build_artifacts(), build_layer()]
    if out_dir is None:
        out_dir = Path("dist")
        out_dir.mkdir(exist_ok=True)
    for artifact in artifacts:
        path = out_dir / f"{artifact.name}.zip"
        write_file(path, artifact.body)
        click.echo(f"{path}  {len(artifact.body)} bytes  {artifact.digest}")
