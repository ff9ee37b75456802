"""cfn-lint's findings, each with its place in the template."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cfnlint import api

from payment_infra.errors import PaymentInfraError

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


def lint(text: str) -> list[Finding]:
    """Lint a template's text."""
    return _findings(api.lint(_joined(text)))


def lint_file(file: str) -> list[Finding]:
    """Lint a template file.

    Raises:
        PaymentInfraError: the file cannot be read.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise PaymentInfraError(f"{file}: cannot be read ({error.strerror})") from error
    if PAIR.search(text := content.decode(errors="replace")):
        return lint(text)
    return _findings(api.lint_file(Path(file)))


def _joined(text: str) -> str:
    """Return JSON with each pair of escapes as the one character that it is.

    cfn-lint reads JSON as YAML, which knows no such pairs.
    """
    return PAIR.sub(lambda match: str(json.loads(f'"{match[0]}"')), text)


def _findings(matches: list[Any]) -> list[Finding]:
    findings = [
        Finding(
            level=LEVELS.get(match.rule.id[0], "error"),
            rule=match.rule.id,
            path="/".join(map(str, getattr(match, "path", None) or ["(template)"])),
            line=match.linenumber,
            message=match.message,
        )
        for match in matches
    ]
    return sorted(findings, key=lambda finding: (finding.line, finding.rule))
