"""A payment gateway of one's own: imported before it is deployed, and then charged.

The emulator runs the functions with this Python, so there it would find whatever is installed here.
"""

import json
from pathlib import Path

from payment_infra.cloud.stacks.stack import Stack
from payment_infra.layer import build_layer
from payment_infra.local.emulator import Emulator
from payment_infra.local.stack import open_session
from tests.e2e.harness import PAYMENT, Deployed, checkout, command, run
from tests.gateways import GATEWAY, gateway
from tests.wheels import installable, pin

CHARGED = "from handlers.shared.gateway import Charged"
CHARGE = "def charge(self, transaction, idempotency_key): return Charged('acme-4711')"


def test_a_gateway_is_charged_and_one_that_aws_could_not_import_changes_nothing(
    aws: Emulator, tmp_path: Path
) -> None:
    folder = checkout(tmp_path)
    acme = folder / "handlers" / "shared" / "acme.py"
    deploy = ("deploy", "--suffix", "acme-1", "--gateway", GATEWAY, "--authorization", "none")
    acme.write_text(gateway(CHARGED, charge=CHARGE))
    status, _, err = command(aws, folder, *deploy, "--yes")
    assert status == 0, err

    session = open_session(aws)
    stack = Stack(session.client("cloudformation"), "payment-infra-acme-1")
    api = Deployed(session, stack).api()
    transaction = str(api.call("POST", "validate", PAYMENT).field("transaction_id"))
    assert api.call("POST", "process", {"transaction_id": transaction}).status == 200
    key = {"transaction_id": {"S": transaction}}
    row = session.client("dynamodb").get_item(TableName="transactions-acme-1", Key=key)["Item"]
    assert row["gateway_reference"] == {"S": "acme-4711"}

    untried = f"Warning: not tried: a charge, which moves money at {GATEWAY}; --pay makes one of"
    for flags, charges in (((), False), (("--pay",), True)):
        status, out, err = command(aws, folder, "smoke", "--suffix", "acme-1", *flags)
        assert (status, "process again" in out, untried in err) == (0, charges, not charges)

    state = stack.state()
    assert state is not None
    bucket = state.parameters["ArtifactBucket"]

    def objects() -> set[str]:
        listed = session.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
        return {listing["Key"] for listing in listed}

    status, out, err = command(aws, folder, "status", "--suffix", "acme-1", "--output", "json")
    assert json.loads(out)["gateway"] == GATEWAY
    before = objects()
    status, out, err = command(aws, folder, "deploy", "--suffix", "acme-1", "--yes")
    assert (status, out, err) == (
        2,
        "",
        "Error: stack payment-infra-acme-1: this update would change settings that were not "
        f"given: authorization from none to iam, gateway from {GATEWAY} to simulated; "
        f"`payment-infra deploy --suffix acme-1 --yes --endpoint-url {aws.url} "
        f"--authorization none --gateway {GATEWAY}` keeps them, and --authorization iam "
        "--gateway simulated changes them\n",
    )
    assert (objects(), stack.state()) == (before, state)
    acme.write_text(gateway(f"{CHARGED}\nimport click", charge=CHARGE))
    status, out, err = command(aws, folder, *deploy, "--yes")
    assert (status, out, err) == (
        1,
        "",
        f"Error: gateway {GATEWAY}: {acme}:3: ModuleNotFoundError: No module named 'click'; "
        f"pin what it imports in {folder}/handlers/requirements.txt, with its hash\n",
    )
    assert (objects(), stack.state()) == (before, state)


def test_local_charges_at_a_gateway_in_a_file_of_ones_own_only_with_pay(tmp_path: Path) -> None:
    # What it requires is nowhere but in this wheel, and so in the functions' zips.
    sdk = installable(tmp_path, "acme_words", source="def reference(): return 'acme-4711'\n")
    pin(tmp_path / "acme.txt", sdk)
    charge = "def charge(self, transaction, idempotency_key): return Charged(reference())"
    source = gateway(f"{CHARGED}; from acme_words import reference", charge=charge)
    (tmp_path / "acme.py").write_text(source)
    (tmp_path / "payment-infra.toml").write_text(
        "gateway = 'acme.py:Acme'\ngateway_requirements = 'acme.txt'\n"
    )
    build_layer()  # from where pip finds it: there is nothing but the wheel for what follows
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    for flags, charges in (((), False), (("--pay",), True)):
        local = ("local", "--smoke", "--port", "0", *flags)
        result = run("payment-infra", *local, cwd=tmp_path, **pip)
        assert (result.returncode, "process again" in result.stdout) == (0, charges), result.stderr


def test_local_says_what_is_wrong_with_a_gateway_and_ends(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    (folder / "handlers" / "shared" / "acme.py").write_text(gateway(find=""))
    result = run(
        "python",
        *("-m", "payment_infra", "local", "--smoke", "--port", "0", "--gateway", GATEWAY),
        cwd=folder,
        PYTHONPATH=str(folder),
    )
    assert (result.returncode, result.stdout) == (1, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"Error: gateway {GATEWAY}: ")
    assert "acme.py:3: Acme has no method find; " in last
