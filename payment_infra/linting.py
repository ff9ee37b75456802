"""cfn-lint's findings, each with its place in the template."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cfnlint import ManualArgs, api
from cfnlint.helpers import REGIONS

from payment_infra.errors import PaymentInfraError
from payment_infra.rendering import read_document
from payment_infra.texts import read_text

# The first letter of a cfn-lint rule's id.
LEVELS = {"E": "error", "W": "warning", "I": "info"}
# What JSON has in ASCII for a character beyond the first 65,536 (RFC 8259, section 7).
PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Finding:
    """One finding: its rule, how bad it is, and where it is."""

    level: str
    rule: str
    path: str
    line: int
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return asdict(self)


def is_known(region: str) -> bool:
    """Whether cfn-lint knows a region, and so what there is in it."""
    return region in REGIONS


def lint(text: str, regions: Sequence[str] = ()) -> list[Finding]:
    """Lint a template's text for regions that cfn-lint knows; none: for its default, us-east-1."""
    return _findings(api.lint(_joined(text), config=_config(regions)), text)


def lint_file(file: str, regions: Sequence[str] = ()) -> list[Finding]:
    """Lint a template file as `lint` does its text.

    Raises:
        PaymentInfraError: the file cannot be read.
    """
    try:
        text = read_text(Path(file))
    except OSError as error:
        raise PaymentInfraError(f"{file}: cannot be read ({error.strerror})") from error
    return lint(text, regions)


def _config(regions: Sequence[str]) -> ManualArgs | None:
    return ManualArgs(regions=list(regions)) if regions else None


def _joined(text: str) -> str:
    """Return JSON with each pair of escapes as the one character that it is.

    cfn-lint reads JSON as YAML, which knows no such pairs.
    """
    return PAIR.sub(lambda match: str(json.loads(f'"{match[0]}"')), text)


def _findings(matches: list[Any], text: str) -> list[Finding]:
    findings = [
        Finding(
            level=LEVELS.get(match.rule.id[0], "error"),
            rule=match.rule.id,
            path="/".join(map(str, getattr(match, "path", None) or ["(template)"])),
            line=match.linenumber,
            message=match.message,
        )
        for match in matches
        if not _is_conditional(match, text)
    ]
    return sorted(findings, key=lambda finding: (finding.line, finding.rule))


def _is_conditional(match: Any, text: str) -> bool:
    """Whether a region lacks what only a condition brings there: cfn-lint 1.58 reads no condition
    when it looks where SnapStart is to be had (E2530)."""
    if match.rule.id != "E2530" or "not supported in" not in match.message:
        return False
    found: Any = read_document(text)
    for key in match.path:
        if isinstance(found, dict) and "Fn::If" in found:
            return True
        found = found[key]
    return False
