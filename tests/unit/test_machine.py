from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from payment_infra.artifacts import HANDLERS, LAYER, layer_digest
from payment_infra.config import StackConfig
from payment_infra.doctor.machine import (
    DISTRIBUTION,
    Installed,
    check_emulator,
    check_gateway,
    check_layer,
    check_libraries,
    check_machine,
    check_python,
    check_settings,
    fits,
    requirements,
)
from tests.gateways import GATEWAY, gateway
from tests.offline import TINY_LAYER, keep_layer


@dataclass
class FakeInstalled(Installed):
    """Distributions by name, with what each of them asks for."""

    versions: dict[str, str] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)

    def version(self, name: str) -> str | None:
        return self.versions.get(name)

    def python(self) -> SpecifierSet:
        return SpecifierSet(">=3.11")

    def requires(self, name: str) -> Sequence[str]:
        return self.needs.get(name, [])


def installed(**versions: str) -> FakeInstalled:
    return FakeInstalled(
        {"click": "8.2.1", "boto3": "1.43.1", "botocore": "1.43.1"} | versions,
        {
            "payment-infra": [
                "boto3>=1.40",
                "click<9,>=8.2",
                'ministack==1.5.33; extra == "local"',
            ],
            "boto3": ["botocore<1.44.0,>=1.43.0", 'botocore[crt]<2,>=9; extra == "crt"'],
        },
    )


@pytest.mark.parametrize(
    ("version", "specifiers", "fit"),
    [
        ("8.10", "<9,>=8.2", True),
        ("8.2", "<9,>=8.2", True),
        ("8.2.0", "==8.2", True),
        ("8.1.9", "<9,>=8.2", False),
        ("9", "<9,>=8.2", False),
        ("9.0.0", "<9,>=8.2", False),
        ("1.5.34", "==1.5.33", False),
        ("2.10rc1", ">=2.9", True),
        ("1", "", True),
        ("1", "==2.*", False),
    ],
)
def test_a_version_is_compared_with_what_is_asked_for(
    version: str, specifiers: str, fit: bool
) -> None:
    assert fits(version, SpecifierSet(specifiers)) is fit


def test_every_requirement_of_ours_is_understood() -> None:
    lines = Installed().requires(DISTRIBUTION)
    found = [*requirements(lines), *requirements(lines, "local")]
    assert {"awacs", "boto3", "cfn-lint", "click", "ministack", "troposphere"} <= {
        one.name for one in found
    }


def test_what_the_emulator_pins_is_pinned_by_its_extra_too() -> None:
    """Or an older pip tries for minutes to find out which boto3 goes with it."""
    ours = requirements(Installed().requires(DISTRIBUTION), "local")
    theirs = requirements(Installed().requires("ministack"))
    pins = {one.name: one.specifier for one in theirs if one.name == "botocore"}
    assert pins
    assert pins.items() <= {one.name: one.specifier for one in ours}.items()


def test_what_is_installed_here_is_what_is_needed() -> None:
    assert [check.level for check in check_machine()] == ["ok"] * 4


def test_python_has_to_be_new_enough() -> None:
    assert check_python("3.11.0", installed()).level == "ok"
    old = check_python("3.10.14", installed())
    assert (old.level, old.message) == ("fail", "3.10.14, and payment-infra needs >=3.11")


def test_the_libraries_are_told_with_their_versions() -> None:
    check = check_libraries(installed())
    assert check.level == "ok"
    assert check.message.endswith("boto3 1.43.1, click 8.2.1, botocore 1.43.1")


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"click": "8.1.7"}, "click 8.1.7, and payment-infra needs <9,>=8.2"),
        ({"botocore": "1.44"}, "botocore 1.44, and boto3 needs <1.44.0,>=1.43.0"),
    ],
)
def test_a_library_that_does_not_fit_is_a_failure(versions: dict[str, str], message: str) -> None:
    check = check_libraries(installed(**versions))
    assert (check.level, check.message) == ("fail", message)
    assert check.remedy


def test_a_library_that_is_missing_is_a_failure() -> None:
    known = installed()
    del known.versions["boto3"]
    check = check_libraries(known)
    assert (check.level, check.message) == ("fail", "boto3 is not installed")


def test_a_package_that_runs_without_being_installed_is_a_warning() -> None:
    check = check_libraries(FakeInstalled())
    assert (check.level, bool(check.remedy)) == ("warn", True)


def test_the_layer_is_in_the_cache_or_not(tmp_path: Path) -> None:
    missing = check_layer(cache=tmp_path, pip=True)
    assert (missing.level, "payment-infra package" in missing.remedy) == ("warn", True)
    assert check_layer(cache=tmp_path, pip=False).level == "fail"
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


def test_the_simulated_gateway_is_told_to_be_one(tmp_path: Path) -> None:
    check = check_gateway(StackConfig(), tmp_path, tmp_path)
    assert (check.level, check.message) == ("ok", "the simulated one, which moves no money")


def test_the_emulator_is_wanted_in_the_version_that_is_measured_against() -> None:
    assert check_emulator(installed(ministack="1.5.33"), True).level == "ok"
    missing = check_emulator(installed(), False)
    other = check_emulator(installed(ministack="1.6"), True)
    assert (missing.level, other.level) == ("warn", "warn")
    assert missing.remedy == other.remedy == "pip install 'payment-infra[local]'"


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
