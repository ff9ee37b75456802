"""The shell blocks of the documents that are marked as runnable, run as they stand.

Each page is run at a terminal, in a fresh home folder beside the committed templates, with "y" for
every question, against an embedded AWS of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from handlers.shared.money import Money
from handlers.shared.transactions import Transaction
from payment_infra.local.emulator import Emulator, emulator
from tests.documents import RUNNABLE, Page, pages
from tests.e2e.harness import REPOSITORY, Deployed, aws_variables, clean_environment
from tests.e2e.terminal import at_terminal
from tests.localstripe.standin import stripe

if TYPE_CHECKING:
    from tests.e2e.conftest import Deploy

PAGES = {
    page.name: page for page in pages() if any(block.info == RUNNABLE for block in page.blocks)
}
AN_HOUR = PAGES.pop("docs/stripe.md")
# The pages that begin without an environment: they deploy one, or call no AWS.
FROM_NOTHING = {"README.md", "docs/configuration.md", "docs/deploying.md"}
ANSWERS = "y\n" * 20
# AWS has a name for every API; the embedded AWS answers at its own address. A refusal is a failure.
CURL = r"""#!/bin/sh
for word do
  shift
  set -- "$@" "$(printf %s "$word" | sed -E "s#^https://([a-z0-9]+)\.execute-api[^/]+#$APIS/\1#")"
done
exec REAL $FAILING --silent --show-error "$@"
"""
# The documents are for the AWS CLI's version 2. The tests have version 1, which lacks one command.
AWS = r"""#!/bin/sh
if [ "$1 $2" = "configure export-credentials" ]; then
  printf 'export %s=%s\n' AWS_ACCESS_KEY_ID "$AWS_ACCESS_KEY_ID"
  printf 'export %s=%s\n' AWS_SECRET_ACCESS_KEY "$AWS_SECRET_ACCESS_KEY"
else
  exec REAL "$@"
fi
"""
# What the pages show: a dead letter, and a payment that was given up.
DEAD = "29802b1b-fb6d-4ee6-b25d-f460acc649b7"
STUCK = "80a5cce8-fa68-4b23-be9e-c5cc0cdb23f2"
# What becomes of the payment that was made last.
ENDED = """
until signed "${URL}transactions/$ID" | grep '"status": "processed"'; do sleep 0.1; done
"""
# What the reader and others do in the hour with Stripe, after the block in which these words are.
MEANWHILE = {
    "install": """
cat first-secret.json > stripe-secret.json
""",
    "create-secret": r"""
ARN=$(aws secretsmanager describe-secret --secret-id payment-infra/stripe-dev-001 \
  --query ARN --output text)
sed "s#arn:aws:secretsmanager[^\"]*#$ARN#" settings.toml > payment-infra.toml
""",
    "gateway-events": r"""
EVENTS=$(echo "${URL}gateway-events" | sed -E "s#^https://([a-z0-9]+)[^/]+#$APIS/\1#")
curl "$STRIPE/_control/notify" -d "{\"url\": \"$EVENTS\"}"
cat signed-secret.json > stripe-secret.json
echo 'gateway_events = true' >> payment-infra.toml
""",
    "pay pm_card_threeDSecure2Required": r"""
PAGE=$(signed "${URL}transactions/$ID" | grep -o 'http://127[^"]*')
curl "$PAGE/complete"
"""
    + ENDED,
    "payment show": r"""
PAYMENT=$(payment-infra payment show "$ID" --suffix dev-001 | sed -n 's/ *gateway_id *//p')
curl -X POST "$STRIPE/_control/bank/$PAYMENT"
"""
    + ENDED
    + r"""
aws dynamodb update-continuous-backups --table-name transactions-dev-001 \
  --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true
""",
    "--fix": r"""
curl -X POST "$STRIPE/_control/rotate" -o stripe-secret.json
""",
}


def test_there_are_pages_to_run() -> None:
    assert {"README.md", "docs/deploying.md", "docs/api.md"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_as_it_stands(name: str, deploy: Deploy, tmp_path: Path) -> None:
    with emulator(enforce_iam=name == "README.md") as aws:
        variables: Mapping[str, str] = {}
        if name == "docs/api.md":
            variables = {"URL": deploy(aws, "local", authorization="none").api().url}
        elif name not in FROM_NOTHING:
            prepare(name, deploy(aws, "dev-001"))
        run(PAGES[name], aws, tmp_path, variables)


def test_the_hour_with_stripe_runs_as_it_stands(tmp_path: Path) -> None:
    """With what is in place of Stripe, and its hands: customers, a bank, and who rotates a key."""
    with stripe() as account, emulator() as aws:
        home = tmp_path / "home"
        home.mkdir()
        settings = next(block.text for block in AN_HOUR.blocks if block.info == "toml")
        (home / "settings.toml").write_text(settings)
        (home / "first-secret.json").write_text(account.secret(signing_secrets=[]))
        (home / "signed-secret.json").write_text(account.secret())
        shown = run(AN_HOUR, aws, tmp_path, {"STRIPE": account.url, "FAILING": ""}, MEANWHILE)
        statuses = [payment["status"] for payment in account.payments()]
    # A card, a declined one, one whose customer authenticates, and a debit.
    assert statuses[-4:] == ["succeeded", "canceled", "succeeded", "succeeded"]
    assert "sk_test_" not in shown
    assert "whsec_" not in shown


def prepare(name: str, deployed: Deployed) -> None:
    """Bring about what a page tells of."""
    sqs, dynamodb = deployed.session.client("sqs"), deployed.session.client("dynamodb")
    table = "transactions-dev-001"
    if name == "docs/failed-payments.md":
        message = {"version": 1, "operation": "process", "transaction_id": DEAD}
        sqs.send_message(
            QueueUrl=deployed.stack.physical_ids()["FailedTransactionsDLQ"],
            MessageBody=json.dumps(message | {"reason": "gateway_unavailable"}),
        )
        validated = Transaction.validated(STUCK, Money(10050, "USD"), "cust-1", datetime.now(UTC))
        row = validated.to_record() | {"status": "processing", "in_flight": "stuck"}
        row |= {"lease_expires_at": 1, "first_charge_at": validated.created_at}
        item = {
            name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)}
            for name, value in row.items()
        }
        dynamodb.put_item(TableName=table, Item=item)
    else:  # the embedded AWS drops the recovery from the template
        dynamodb.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


def run(
    page: Page,
    aws: Emulator,
    folder: Path,
    variables: Mapping[str, str],
    meanwhile: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run the blocks of a page in one shell, in order; each command has to succeed.

    meanwhile has what is run after a block in which some words are. Returns what was shown.
    """
    home, programs = folder / "home", folder / "bin"
    home.mkdir(exist_ok=True)
    (home / "templates").symlink_to(REPOSITORY / "templates")
    programs.mkdir()
    environment = clean_environment(home)
    for name, text in (("curl", CURL), ("aws", AWS)):
        real = shutil.which(name, path=environment["PATH"])
        assert real, f"{name} is not installed"
        (programs / name).write_text(text.replace("REAL", real))
        (programs / name).chmod(0o755)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    environment |= {**aws_variables(aws.url), "APIS": f"{aws.url}/_aws/execute-api"}
    environment |= {"FAILING": "--fail-with-body", **variables}
    blocks = [block.text for block in page.blocks if block.info == RUNNABLE]
    for words, lines in meanwhile.items():
        [place] = [place for place, text in enumerate(blocks) if words in text]
        blocks[place] += lines
    script = folder / "script"
    script.write_text("".join(f"{text}echo ended {n}\n" for n, text in enumerate(blocks)))
    shell = ["bash", "-ex", "-o", "pipefail", str(script)]
    with at_terminal(shell, home, environment) as terminal:
        terminal.press(ANSWERS)
        for number in range(len(blocks)):
            terminal.until(f"\nended {number}\n")
        assert terminal.end() == 0, terminal.text
    return terminal.text
