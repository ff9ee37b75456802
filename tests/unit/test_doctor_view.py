from __future__ import annotations

import click
import pytest

from payment_infra.checks import Check, not_checked
from payment_infra.cli.views.doctor import draw
from tests import snapshots

FOUND = (
    Check("payment-infra", "ok", "0.1.0, with Python 3.13.1"),
    Check("layer", "ok", "the dependency layer is in the cache"),
    Check(
        "emulator",
        "warn",
        "the embedded AWS is not installed; only `payment-infra local` needs it",
        "/srv/payments/.venv/bin/python -m pip install ministack==1.5.33 boto3==1.43.106 "
        "botocore==1.43.106",
    ),
    Check("settings", "ok", "dev-001, preset development, payment-infra.toml"),
    Check(
        "gateway",
        "fail",
        "handlers.shared.acme:Acme: /srv/payments/handlers/shared/acme.py:3: "
        "ModuleNotFoundError: No module named 'acme_sdk'",
        "pin what it imports in /srv/payments/handlers/requirements.txt, with its hash",
    ),
    Check("region", "ok", "eu-central-1"),
    Check("endpoint", "ok", "https://sts.eu-central-1.amazonaws.com"),
    Check(
        "clock",
        "fail",
        "12 minutes behind AWS's, which takes no signature beyond 5",
        "set it by NTP, as with `timedatectl set-ntp true`",
    ),
    Check(
        "credentials",
        "ok",
        "account 123456789012, arn:aws:sts::123456789012:assumed-role/"
        "AWSReservedSSO_PaymentsDeployers_0123456789abcdef/alice@example.com",
    ),
    not_checked("bucket", "cloudformation"),
)


def test_what_was_found_is_a_line_each_with_what_to_do_below_it() -> None:
    text = "".join(f"{draw(check, 80)}\n" for check in FOUND)
    snapshots.check("doctor-80", text)


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_to_be_copied_is_never_broken(width: int) -> None:
    text = click.unstyle("\n".join(draw(check, width) for check in FOUND))
    assert "assumed-role/AWSReservedSSO_PaymentsDeployers_0123456789abcdef/alice@" in text
    long = [line for line in text.splitlines() if len(line) > width]
    assert all("assumed-role" in line for line in long)
