"""`make audit`: what every checker finds in the template of the preset `production`, and whether a
CDK app can include the committed templates.

It prints a count for each checker and pack, suppressed findings apart, and what is not suppressed,
rule by rule; the exit status is 1 if there is anything, or if a CDK app would deploy something else
than the template. What is suppressed is written to `suppressed.json`, which the tests hold the
template's Metadata to.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from payment_infra.artifacts import code_keys
from payment_infra.config import PRESETS, StackConfig
from payment_infra.rendering import render
from payment_infra.template import build_template
from tests.audit import checkers
from tests.audit.checkers import CFN_LINT, CHECKOV, PACKS, TRIVY, Finding

TEMPLATES = checkers.REPOSITORY / "templates"
RECORD = Path(__file__).with_name("suppressed.json")


def main() -> None:
    """Run every checker, print what each finds, and exit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.json"
        file.write_text(production())
        findings = [*checkers.cfn_lint(file), *checkers.checkov(file), *checkers.nag(file)]
        of_trivy = checkers.trivy(file)
    names = [CFN_LINT, CHECKOV, *PACKS]
    if of_trivy is not None:
        findings += of_trivy
        names.append(TRIVY)
    _print_counts(names, findings)
    if of_trivy is None:
        print(f"{TRIVY:<16}  not run: trivy is not installed")
    failures: dict[tuple[str, str], set[str]] = {}
    for one in findings:
        if not one.reason:
            failures.setdefault((one.rule, one.says), set()).add(one.resource)
    for (rule, says), resources in sorted(failures.items()):
        print(f"{rule}: {says}: {', '.join(sorted(resources))}")
    lost = {file.name: checkers.lost_in_cdk(file) for file in sorted(TEMPLATES.glob("*.yaml"))}
    for name, places in lost.items():
        print(f"CDK includes {name}: {'differs at ' + ', '.join(places) if places else 'the same'}")
    # The same on every machine, whether it has trivy or not.
    RECORD.write_text(recorded([one for one in findings if one.checker != TRIVY]))
    raise SystemExit(1 if failures or any(lost.values()) else 0)


def production() -> str:
    """Return the template of the preset `production` as JSON."""
    config = StackConfig(preset="production", **PRESETS["production"])  # type: ignore[arg-type]
    return render(build_template(config, code_keys()), "json")


def recorded(findings: Sequence[Finding]) -> str:
    """Return the suppressed findings as JSON: rule to what it says and to its resources."""
    rules: dict[str, dict[str, object]] = {}
    for one in sorted(finding for finding in findings if finding.reason):
        rule = rules.setdefault(one.rule, {"says": one.says, "resources": []})
        resources = rule["resources"]
        assert isinstance(resources, list)
        if one.resource not in resources:
            resources.append(one.resource)
    return json.dumps(dict(sorted(rules.items())), indent=2) + "\n"


def _print_counts(names: Sequence[str], findings: Sequence[Finding]) -> None:
    failed = Counter(finding.checker for finding in findings if not finding.reason)
    suppressed = Counter(finding.checker for finding in findings if finding.reason)
    print(f"{'':<16}  failed  suppressed")
    for name in names:
        print(f"{name:<16}  {failed[name]:>6}  {suppressed[name]:>10}")


if __name__ == "__main__":
    main()
