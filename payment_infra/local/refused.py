"""What the embedded AWS refuses, and what `local` therefore leaves out."""

from collections.abc import Mapping
from dataclasses import replace

from payment_infra.config import StackConfig

# The setting that asks for it, to the reason. Each was tried with the release that setup.cfg pins.
REFUSED: Mapping[str, str] = {
    "backup": "it has no selections of AWS Backup",
    "firewall": "it has no association of a web ACL with a stage",
    "client_certificate": "it has no client certificates",
    "trace_percent": "it has no sampling rules of X-Ray",
    "canary_percent": "it has no CodeDeploy",
    "concurrency_alarms": "it has no alarms on metric math",
}
DEFAULTS = StackConfig()


def without_refused(config: StackConfig) -> tuple[StackConfig, dict[str, str]]:
    """Return the configuration that the embedded AWS takes, and setting to reason of what is left
    out: it has the default of `development` then."""
    left_out = {
        name: reason
        for name, reason in REFUSED.items()
        if getattr(config, name) != getattr(DEFAULTS, name)
    }
    return replace(config, **{name: getattr(DEFAULTS, name) for name in left_out}), left_out
