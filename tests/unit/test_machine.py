from __future__ import annotations

import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from payment_infra import __version__
from payment_infra.artifacts import HANDLERS, LAYER, layer_digest
from payment_infra.config import StackConfig
from payment_infra.doctor.machine import (
    DISTRIBUTION,
    check_emulator,
    check_gateway,
    check_itself,
    check_layer,
    check_machine,
    check_settings,
    version_of,
)
from payment_infra.gateway_names import GATEWAY_NAMES
from payment_infra.interpreter import pip_remedy
from payment_infra.local.emulator import PACKAGE, REQUIREMENTS, VERSION, installation
from tests.gateways import GATEWAY, gateway
from tests.offline import TINY_LAYER, keep_layer


def test_what_the_emulator_pins_is_pinned_by_its_extra_too() -> None:
    """Or an older pip tries for minutes to find out which boto3 goes with it."""
    [pin] = [one for one in metadata.requires(PACKAGE) or [] if one.startswith("botocore==")]
    assert pin in REQUIREMENTS


def test_the_emulator_is_said_the_same_in_the_code_and_in_the_extras() -> None:
    lines = metadata.requires(DISTRIBUTION) or []
    local = {line.partition(";")[0] for line in lines if line.endswith('extra == "local"')}
    developing = {line.partition(";")[0] for line in lines if line.endswith('extra == "dev"')}
    assert local == set(REQUIREMENTS)
    assert local <= developing


def test_the_advice_installs_the_emulator_beside_the_python_that_gives_it() -> None:
    assert installation() == (
        f"{sys.executable} -m pip install ministack==1.5.33 boto3==1.43.106 botocore==1.43.106"
    )


def test_what_is_installed_here_is_what_is_needed() -> None:
    found = list(check_machine())
    assert [check.level for check in found] == ["ok"] * 3
    assert found[0].message == f"{__version__}, with Python {platform.python_version()}"
    assert version_of(PACKAGE) == VERSION
    assert version_of("no-such-distribution") == ""


def test_the_layer_is_in_the_cache_or_not(tmp_path: Path) -> None:
    missing = check_layer(cache=tmp_path, pip=True)
    assert (missing.level, "payment-infra package" in missing.remedy) == ("warn", True)
    without = check_layer(cache=tmp_path, pip=False)
    assert (without.level, without.remedy) == ("fail", pip_remedy())
    (tmp_path / f"{LAYER}-{layer_digest()}.zip").touch()
    assert check_layer(cache=tmp_path, pip=False).level == "ok"


def test_handlers_that_cannot_be_read_are_a_failure(tmp_path: Path) -> None:
    check = check_layer(tmp_path)
    assert (check.level, check.remedy) == ("fail", "install payment-infra anew")


def test_a_gateway_is_imported_once_the_layer_is_built(tmp_path: Path) -> None:
    root, cache = tmp_path / "handlers", tmp_path / "cache"
    shutil.copytree(HANDLERS, root)
    config = StackConfig(gateway=GATEWAY)
    missing = check_gateway(config, root, cache)
    assert (missing.level, missing.remedy) == ("fail", "write the class, or name another one")
    (root / "shared" / "acme.py").write_text(gateway(charge=""))
    unbuilt = check_gateway(config, root, cache)
    assert (unbuilt.level, "payment-infra package" in unbuilt.remedy) == ("warn", True)
    assert not cache.exists()
    keep_layer(cache, TINY_LAYER, root)
    lacking = check_gateway(config, root, cache)
    assert (lacking.level, lacking.message) == (
        "fail",
        f"{GATEWAY}: {root}/shared/acme.py:3: Acme has no method charge",
    )
    assert lacking.remedy.startswith("the protocol in ")
    (root / "shared" / "acme.py").write_text(gateway())
    assert check_gateway(config, root, cache).level == "ok"


@pytest.mark.parametrize("name", ["simulated", "scripted"])
def test_a_gateway_that_moves_no_money_is_told_to_be_one(tmp_path: Path, name: str) -> None:
    check = check_gateway(StackConfig(gateway=GATEWAY_NAMES[name]), tmp_path, tmp_path)
    assert (check.level, check.message) == ("ok", f"the {name} one, which moves no money")


def test_one_that_comes_along_and_moves_money_is_not_told_to_move_none(tmp_path: Path) -> None:
    check = check_gateway(StackConfig(gateway=GATEWAY_NAMES["stripe"]), tmp_path, tmp_path)
    assert (check.level, check.message) == ("ok", "stripe")


@pytest.mark.parametrize(
    ("version", "level", "message"),
    [
        ("1.5.33", "ok", "ministack 1.5.33"),
        ("1.6", "warn", "ministack 1.6, and payment-infra is measured against 1.5.33"),
        ("", "warn", "the embedded AWS is not installed; only `payment-infra local` needs it"),
    ],
)
def test_the_emulator_is_wanted_in_the_version_that_is_measured_against(
    version: str, level: str, message: str
) -> None:
    check = check_emulator(version)
    assert (check.level, check.message) == (level, message)
    assert check.remedy == ("" if level == "ok" else installation())


@pytest.mark.parametrize("installed", ["", __version__])
def test_what_runs_is_what_is_installed_or_nothing_is(installed: str) -> None:
    assert check_itself(installed).level == "ok"


def test_another_distribution_under_this_name_is_told() -> None:
    check = check_itself("99.0")
    assert (check.level, check.remedy) == (
        "warn",
        "install payment-infra anew, from its clone or its wheel",
    )
    assert check.message.endswith(
        "; what is installed under this name is 99.0: older, or somebody else's"
    )


def test_settings_that_are_not_valid_are_a_failure_with_their_message(tmp_path: Path) -> None:
    file = tmp_path / "payment-infra.toml"
    file.write_text("sufix = 'dev'")
    check, resolved = check_settings({}, {}, file)
    assert resolved is None
    assert (check.level, check.message) == ("fail", f"{file}: sufix: unknown key")
    assert check.remedy == "did you mean suffix?"
    check, resolved = check_settings({"suffix": "Dev"}, {}, None)
    assert (check.level, check.remedy.startswith("mend it")) == ("fail", True)


def test_settings_are_told_with_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "payment-infra.toml"
    file.write_text("suffix = 'dev'\npreset = 'production'")
    check, resolved = check_settings({}, {}, file)
    assert (check.level, check.message) == ("ok", f"dev, preset production, {file}")
    assert resolved is not None
    assert resolved.config.suffix == "dev"
