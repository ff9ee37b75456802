"""Commands, with a payment gateway in a file beside payment-infra.toml."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.cloud.deploying import deployment, forecast, planning
from payment_infra.config import StackConfig
from payment_infra.errors import PaymentInfraError
from payment_infra.local import emulator
from payment_infra.local.sandbox import check_sandbox
from payment_infra.zips import zip_files
from tests.functional.conftest import Cli, refused
from tests.gateways import gateway
from tests.offline import installed_files, keep_layer
from tests.wheels import installable, pin

if TYPE_CHECKING:
    from tests.aws import FakeAws

DEPLOY = ("deploy", "--suffix", "dev", "--bucket", "zips", "--yes")
CONFIG = StackConfig(gateway="acme.py:Acme", gateway_requirements="acme.txt")
MISSING = "gateway acme.py:Acme: acme.py: cannot be read (No such file or directory); "


@pytest.fixture(autouse=True)
def own(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the gateway, its requirements, and where pip finds these."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    pin(clean / "acme.txt", installable(tmp_path, "acme_sdk"))
    (clean / "acme.py").write_text(gateway("import acme_sdk"))
    (clean / "payment-infra.toml").write_text(
        "gateway = 'acme.py:Acme'\ngateway_requirements = 'acme.txt'\n"
    )
    return clean


def test_it_is_deployed_and_a_change_of_the_file_is_one_of_what_uses_it(
    cli: Cli, aws: FakeAws, own: Path
) -> None:
    result = cli(*DEPLOY)
    assert result.exit_code == 0, result.output
    assert "Payment gateway: acme.py:Acme" in result.stderr
    keys = set(code_keys(config=CONFIG).values())
    assert keys <= set(aws.buckets["zips"].objects)
    diff = ("diff", "--suffix", "dev", "--bucket", "zips", "--output", "json", "--fail")
    assert cli(*diff).exit_code == 0
    (own / "acme.py").write_text(gateway("import acme_sdk as sdk"))
    result = cli(*diff)
    changed = json.loads(result.stdout)["code"]
    named = {change["logical_id"] for change in changed}
    assert (result.exit_code, named) == (
        4,
        {
            *("ProcessingFunction", "RetryFunction"),
            *("ValidationFunction", "CancellationFunction"),
        },
    )
    assert cli(*DEPLOY).exit_code == 0
    assert set(code_keys(config=CONFIG).values()) - keys <= set(aws.buckets["zips"].objects)


@pytest.mark.parametrize(
    "command", ["render", "validate", "package", "diff", "upload", "deploy"], ids=str
)
def test_a_checkout_without_the_file_is_told_so_and_changes_nothing(
    command: str, cli: Cli, aws: FakeAws, own: Path
) -> None:
    assert cli(*DEPLOY).exit_code == 0
    before = aws.changes()
    (own / "acme.py").unlink()
    flags = {"upload": ("--bucket", "zips"), "deploy": DEPLOY[3:]}
    line = refused(cli(command, "--suffix", "dev", *flags.get(command, ())), 2)
    assert line.startswith(MISSING)
    assert aws.changes() == before
    assert sorted(path.name for path in own.iterdir()) == ["acme.txt", "payment-infra.toml"]


def test_a_forgotten_setting_is_refused_with_the_flags_that_keep_it(
    cli: Cli, aws: FakeAws, own: Path
) -> None:
    assert cli(*DEPLOY).exit_code == 0
    before = aws.changes()
    (own / "payment-infra.toml").unlink()
    line = refused(cli(*DEPLOY), 2)
    kept = "--gateway acme.py:Acme --gateway-requirements acme.txt` keeps them"
    assert "gateway from acme.py:Acme to simulated" in line
    assert kept in line
    assert aws.changes() == before
    flags = ("--gateway", "acme.py:Acme", "--gateway-requirements", "acme.txt")
    result = cli(*DEPLOY, *flags)
    assert (result.exit_code, aws.changes()) == (0, before)


def test_what_needs_no_code_needs_no_file(cli: Cli, aws: FakeAws, own: Path) -> None:
    assert cli(*DEPLOY).exit_code == 0
    (own / "acme.py").unlink()
    (own / "acme.txt").unlink()
    for command in ("config", "outputs"):
        assert cli(command, "--suffix", "dev").exit_code == 0, command
    result = cli("destroy", "--suffix", "dev", "--yes")
    assert result.exit_code == 0, result.output


def test_a_rendered_template_is_stale_once_the_file_has_changed(cli: Cli, own: Path) -> None:
    assert cli("render", "-o", "out.yaml").exit_code == 0
    check = ("render", "--check", "-o", "out.yaml")
    assert cli(*check).exit_code == 0
    (own / "acme.txt").write_text((own / "acme.txt").read_text() + "# more\n")
    assert cli(*check).exit_code == 1


@pytest.mark.parametrize("command", ["deploy", "upload"])
@pytest.mark.parametrize("step", ["plan", "upload"])
def test_a_file_that_changes_after_it_was_checked_is_not_deployed(
    step: str,
    command: str,
    cli: Cli,
    aws: FakeAws,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (deployment, forecast, planning):
        original = getattr(module, step, None)
        if original is None:
            continue

        def edit(*arguments: Any, original: Any = original) -> Any:
            (own / "acme.py").write_text(gateway("import nothing"))
            return original(*arguments)

        monkeypatch.setattr(module, step, edit)
    result = cli(command, *DEPLOY[1 : 5 if command == "upload" else None])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        1,
        "Error: cancellation: its files have changed since they were checked; repeat the command",
    )
    assert not aws.buckets["zips"].objects


def test_requirements_that_name_nothing_are_none(cli: Cli, own: Path) -> None:
    (own / "acme.py").write_text(gateway())
    (own / "acme.txt").write_text("# nothing yet\n")
    assert cli("package", "-o", own).exit_code == 0
    with zipfile.ZipFile(own / "processing.zip") as archive:
        assert not [name for name in archive.namelist() if "dist-info" in name]


CHECK = ("gateway", "check", "acme.py:Acme", "--yes")
# A gateway in one step that shows all that it was given, and prints it besides.
SHOWING = """
from datetime import timedelta
import acme_sdk
from handlers.shared.gateway import Charged, NoCharge
class Acme():
    KEY_RETENTION = timedelta(hours=24)
    def __init__(self, secret):
        print(secret)
        self.kept, self.secret = {{}}, secret
    def charge(self, transaction, idempotency_key):
        {charge}
        reference = f"{{len(self.kept)}}-{{self.secret == 'canary'}}"
        return self.kept.setdefault(idempotency_key, Charged(reference))
    def find(self, idempotency_key):
        return self.kept.get(idempotency_key, NoCharge())
"""


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer that is deployed, which the handlers import."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_layer(tmp_path / "cache" / "payment-infra", zip_files(installed_files()))


@pytest.mark.usefixtures("layer")
def test_it_is_tried_with_payments_and_its_secret_is_in_no_output(cli: Cli, own: Path) -> None:
    (own / "acme.py").write_text(SHOWING.format(charge=""))
    private(own)
    result = cli(*CHECK, "--secret-file", "key")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "ok    charge          charged as 0-True"
    assert lines[-1].startswith("ok    time ")
    assert "warn  decline         not tried: name what the sandbox declines" in lines
    assert "canary" not in result.output


@pytest.mark.usefixtures("layer")
def test_what_it_does_wrong_is_told_and_is_exit_code_1(cli: Cli, own: Path) -> None:
    (own / "acme.py").write_text(SHOWING.format(charge="self.kept.clear()"))
    result = cli(*CHECK, "--output", "json")
    assert result.exit_code == 1
    failing = {one["name"] for one in json.loads(result.stdout) if one["level"] == "fail"}
    assert failing == {"another key"}
    assert result.stderr.endswith("Error: 1 of 7 checks failed\n")


@pytest.mark.usefixtures("layer")
def test_one_that_ends_the_program_is_one_line(cli: Cli, own: Path) -> None:
    (own / "acme.py").write_text(SHOWING.format(charge="import os; os._exit(7)"))
    result = cli(*CHECK)
    assert refused(result, 1).startswith(
        "gateway acme.py:Acme: acme.py: the trial ended with status 7"
    )


def test_one_that_cannot_be_imported_makes_no_payment(cli: Cli, own: Path) -> None:
    (own / "acme.py").write_text(gateway("import nowhere"))
    assert "No module named 'nowhere'" in refused(cli(*CHECK), 1)


def test_without_a_terminal_and_without_yes_no_payment_is_made(cli: Cli) -> None:
    result = cli(*CHECK[:-1])
    assert result.exit_code == 2
    assert "add --yes to go ahead" in result.stderr


LOCAL = ("local", "--port", "0", "--gateway-secret-file", "key")


def private(own: Path, text: str = "canary\n") -> None:
    (own / "key").write_text(text)
    (own / "key").chmod(0o600)


@pytest.mark.parametrize(
    ("init", "told"),
    [
        (
            "self.mode = 'live'",
            "it moves real money: its mode is live",
        ),
        (
            "from handlers.shared import gateway; raise gateway.InvalidSecret('it lacks a key')",
            "it lacks a key",
        ),
        ("raise ValueError(secret)", "it cannot be made: ValueError at acme.py:5"),
    ],
)
@pytest.mark.usefixtures("layer")
def test_on_this_machine_no_key_is_used_that_moves_real_money_or_is_wrong(
    cli: Cli, own: Path, init: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "emulator", lambda *_, **__: pytest.fail("it is started"))
    private(own)
    (own / "acme.py").write_text(gateway(init=f"def __init__(self, secret): {init}"))
    result = cli(*LOCAL)
    assert refused(result, 1) == (
        f"gateway acme.py:Acme: {told}; give the secret of its sandbox, in test mode"
    )
    assert "canary" not in result.output


@pytest.mark.usefixtures("layer")
def test_of_a_gateway_that_does_not_say_whether_money_moves_one_is_warned(own: Path) -> None:
    (own / "acme.py").write_text(gateway())
    [warning] = check_sandbox(CONFIG, "canary")
    assert warning.startswith(
        "gateway acme.py:Acme: it does not say whether its key moves real money; "
    )
    moded = gateway(init="def __init__(self, secret): self.mode = 'test'")
    (own / "acme.py").write_text(moded)
    assert list(check_sandbox(CONFIG, "canary")) == []


def test_the_simulated_gateway_is_given_no_secret(cli: Cli, own: Path) -> None:
    private(own)
    assert refused(cli(*LOCAL, "--gateway", "simulated"), 2) == (
        "the simulated gateway has no secret; name another one with --gateway"
    )


def test_stripe_is_not_tried_without_a_secret(cli: Cli) -> None:
    assert refused(cli("gateway", "check", "stripe", "--yes"), 2) == (
        "the stripe gateway needs a secret; name a file with that of its sandbox by --secret-file"
    )


@pytest.mark.parametrize("command", [LOCAL, (*CHECK, "--secret-file", "key")])
def test_a_secret_that_is_none_is_one_line(cli: Cli, own: Path, command: tuple[str, ...]) -> None:
    assert refused(cli(*command), 2) == "key: cannot be read (No such file or directory)"
    private(own, "\n")
    assert refused(cli(*command), 2) == "key: is empty; it has to hold the gateway's secret"


@pytest.mark.usefixtures("layer")
def test_a_secret_that_everybody_can_read_is_warned_of(cli: Cli, own: Path) -> None:
    private(own)
    (own / "key").chmod(0o604)
    (own / "acme.py").write_text(SHOWING.format(charge=""))
    result = cli(*CHECK, "--secret-file", "key")
    assert result.exit_code == 0
    assert result.stderr == "Warning: everybody on this machine can read key; `chmod 600` it\n"


@pytest.mark.usefixtures("layer")
@pytest.mark.parametrize(
    ("flags", "proxy"), [((), "http://proxy:1"), (("--gateway", "scripted"), "")]
)
def test_a_real_gateway_alone_is_reached_by_the_users_network(
    cli: Cli, own: Path, flags: tuple[str, ...], proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def start(*_: object, **options: Any) -> Any:
        given.update(options)
        raise PaymentInfraError("that is all")

    monkeypatch.setattr(emulator, "emulator", start)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    private(own, "{}")
    (own / "acme.py").write_text(gateway(init="def __init__(self, secret): self.mode = 'test'"))
    result = cli(*LOCAL, *flags)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "Error: that is all")
    assert given["network"].get("HTTPS_PROXY", "") == proxy
    assert given["keep_secrets"] is False
