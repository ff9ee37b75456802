"""`payment-infra bootstrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import output_option, place_options, yes_option
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.output import confirm, note, print_json
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session


@click.command("bootstrap")
@click.option(
    "--destroy", is_flag=True, help="Empty and delete the bucket, if no environment is left."
)
@output_option
@yes_option
@place_options
@everywhere
@sheltered()
def command(session: Session, destroy: bool, output: str, yes: bool) -> None:
    """Make the bucket for the zips, once per account and region.

    It is a stack of its own, payment-artifacts. `upload` and `deploy` do this by themselves when no
    bucket is given.

    \b
    Example:
      payment-infra bootstrap --region eu-central-1
    """
    if destroy:
        _destroy(session, output, yes)
        return
    from payment_infra.cloud.deploying.bootstrap import BOOTSTRAP_STACK, bootstrap

    with at_terminal(BOOTSTRAP_STACK, "text") as operator:
        bucket, changed = bootstrap(session, operator.tell)
    if not changed:
        note(f"{BOOTSTRAP_STACK} is up to date")
    if output == "json":
        print_json({"bucket": bucket, "changed": changed})
    else:
        click.echo(bucket)


def _destroy(session: Session, output: str, yes: bool) -> None:
    from payment_infra.cli.views.text import size
    from payment_infra.cloud.deploying.bootstrap import BOOTSTRAP_STACK
    from payment_infra.cloud.destroying.bucket_removal import examine, remove
    from payment_infra.wording import counted

    contents = examine(session)
    if contents is None:
        note(f"there is no artifact bucket in {session.region}; nothing to delete")
    else:
        note(
            f"{contents.bucket} in {session.region}\n"
            f"  {counted(contents.versions, 'version')} of objects, "
            f"{size(contents.size_bytes)}"
        )
        confirm("Delete them, the bucket, and its stack?", yes)
        with at_terminal(BOOTSTRAP_STACK, "text") as operator:
            remove(session, contents, operator.tell)
        note(f"{contents.bucket} is deleted")
    if output == "json":
        deleted = contents.bucket if contents else None
        print_json({"bucket": deleted, "deleted": contents is not None})
