"""`payment-infra openapi`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import out_option
from payment_infra.cli.views.output import note, print_data
from payment_infra.files import write_file
from payment_infra.openapi import read_document


@click.command("openapi")
@out_option("out", "Where to write; - is stdout.", default="-")
@click.option(
    "--server",
    metavar="URL",
    help="Where the API is.  [default: a template of an execute-api address]",
)
@everywhere
def command(out: str, server: str | None) -> None:
    """Write the OpenAPI document of the API; offline.

    It is OpenAPI 3.1 in JSON, with the output APIEndpoint of a stack as a good --server.

    \b
    Example:
      payment-infra openapi --server https://api.example.com/prod -o openapi.json
    """
    text = json.dumps(read_document(server), indent=2) + "\n"
    if out == "-":
        print_data(text)
    else:
        write_file(Path(out), text.encode())
        note(f"wrote {out} ({len(text.encode())} bytes)")
