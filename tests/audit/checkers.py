"""The checkers that `make audit` runs over a rendered template, and what they find.

checkov and the rule packs of cdk-nag run in `.venv-audit`, which the Makefile installs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cfnlint import api
from cfnlint.config import ManualArgs

from payment_infra.difference import compare
from payment_infra.rendering import read_document

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = REPOSITORY / ".venv-audit"
NODE_MODULES = ENVIRONMENT / "node" / "node_modules"
NAG = REPOSITORY / "tests" / "audit" / "nag.js"
INCLUDE = REPOSITORY / "tests" / "audit" / "include.js"
CHECK_SECONDS = 300
CFN_LINT = "cfn-lint"
CHECKOV = "checkov"
TRIVY = "trivy config"
PACKS = (
    "AwsSolutions",
    "PCI DSS 3.2.1",
    "NIST 800-53 R4",
    "NIST 800-53 R5",
    "HIPAA Security",
    "Serverless",
)
Template = dict[str, Any]


@dataclass(frozen=True, order=True)
class Finding:
    """What one rule of a checker says of one resource; reason is why it is suppressed, or ""."""

    checker: str
    rule: str
    resource: str
    says: str
    reason: str = ""


def install(target: str) -> None:
    """Have the Makefile install a part of `.venv-audit`, unless it is there."""
    subprocess.run(
        ["make", "--silent", f"{ENVIRONMENT.name}/{target}"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        check=True,
    )


def cfn_lint(file: Path) -> list[Finding]:
    """Return what cfn-lint finds with its informational rules; it drops what is suppressed."""
    arguments = ManualArgs(include_checks=["I"])
    return [
        Finding(CFN_LINT, match.rule.id, _resource(match.path), match.message)
        for match in api.lint_file(file, config=arguments)
    ]


def _resource(path: list[Any]) -> str:
    return str(path[1]) if path[:1] == ["Resources"] and len(path) > 1 else "(template)"


def checkov(file: Path) -> list[Finding]:
    """Return what checkov finds; it asks no server."""
    options = ("--framework", "cloudformation", "--skip-download", "--compact", "--output", "json")
    program = str(ENVIRONMENT / "bin" / CHECKOV)
    output = _run(program, "--file", str(file), *options, CKV_SKIP_PACKAGE_UPDATE_CHECK="true")
    results = json.loads(output)["results"]
    return [
        Finding(
            checker=CHECKOV,
            rule=one["check_id"],
            resource=one["resource"].rpartition(".")[2],
            says=one["check_name"],
            reason=one["check_result"].get("suppress_comment", ""),
        )
        for one in (*results["failed_checks"], *results["skipped_checks"])
    ]


def nag(file: Path) -> list[Finding]:
    """Return what the rule packs of cdk-nag find in a template of JSON."""
    output = _node(NAG, file, str(file.parent))
    findings = [Finding(**json.loads(line)) for line in output.splitlines()]
    return [replace(one, says=one.says.partition(" - (Control ID")[0]) for one in findings]


def lost_in_cdk(file: Path) -> list[str]:
    """Return where a CDK app that includes a template synthesizes something else."""
    with tempfile.TemporaryDirectory() as folder:
        made = json.loads(_node(INCLUDE, file, folder))
    template = read_document(file.read_text())
    differences = compare(_as_cdk_writes(template), _as_cdk_writes(made))
    return [".".join(difference.path) for difference in differences]


def _as_cdk_writes(value: Any) -> Any:
    """Return a template with attributes as CDK reads them in YAML, and what each resource waits for
    in the order of the alphabet."""
    match value:
        case {"Fn::GetAtt": [name, attribute]}:
            return {"Fn::GetAtt": f"{name}.{attribute}"}
        case dict():
            return {
                key: sorted([inner] if isinstance(inner, str) else inner)
                if key == "DependsOn"
                else _as_cdk_writes(inner)
                for key, inner in value.items()
            }
        case list():
            return [_as_cdk_writes(inner) for inner in value]
    return value


def _node(script: Path, file: Path, folder: str) -> str:
    """Run a script in Node over a template; what it leaves is in the folder."""
    return _run("node", str(script), str(file), NODE_PATH=str(NODE_MODULES), TMPDIR=folder)


def trivy(file: Path) -> list[Finding] | None:
    """Return what trivy finds, with the checks that come with it; None if it is not installed.

    It reads comments alone, which JSON has not: what the Metadata says is looked up here.
    """
    program = shutil.which("trivy")
    if program is None:
        return None
    options = ("--skip-check-update", "--skip-version-check", "--format", "json", "--quiet")
    results = json.loads(_run(program, "config", *options, str(file))).get("Results", [])
    reasons = {
        (one.rule, one.resource): one.reason
        for one in suppressed_in(json.loads(file.read_text()))
        if one.checker == TRIVY
    }
    findings = []
    for result in results:
        for one in result.get("Misconfigurations", []):
            # Later releases call AVD-AWS-0190 AWS-0190.
            rule = f"AVD-{one['ID'].removeprefix('AVD-')}"
            resource = one["CauseMetadata"].get("Resource", "")
            reason = reasons.get((rule, resource), "")
            findings.append(Finding(TRIVY, rule, resource, one["Title"], reason))
    return findings


def _run(*command: str, **variables: str) -> str:
    """Run a checker; return what it prints, whatever it found."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "LANG": "C.UTF-8"}
    result = subprocess.run(
        command,
        env=environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    assert result.stdout or not result.returncode, result.stderr
    return result.stdout


def suppressed_in(template: Template) -> Iterator[Finding]:
    """Yield what the Metadata of a template's resources suppresses, by each checker's own key.

    The checker of cdk-nag's rules is "cdk-nag", whichever pack the rule is in.
    """
    for name, resource in template["Resources"].items():
        metadata = resource.get("Metadata", {})
        for rule in metadata.get("cdk_nag", {}).get("rules_to_suppress", []):
            for part in rule.get("applies_to", [""]):
                whole = f"{rule['id']}[{part}]" if part else rule["id"]
                yield Finding("cdk-nag", whole, name, "", rule["reason"])
        for rule in metadata.get(CHECKOV, {}).get("skip", []):
            yield Finding(CHECKOV, rule["id"], name, "", rule["comment"])
        for rule in metadata.get("trivy", {}).get("ignore", []):
            yield Finding(TRIVY, rule["id"], name, "", rule["reason"])
        for rule in metadata.get(CFN_LINT, {}).get("config", {}).get("ignore_checks", []):
            yield Finding(CFN_LINT, rule, name, "")
