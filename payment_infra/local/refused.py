"""What the embedded AWS refuses or does not have, and what `local` therefore leaves out."""

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
# What it would take, and what is of no use here: these are in an account of AWS's.
ELSEWHERE: Mapping[str, str] = {
    "bucket": "it has a bucket of its own",
    "gateway_secret": "it has no such secret; --gateway-secret-file gives it one",
    "allowed_accounts": "the API is open to all",
}
# Nobody here can sign.
FIXED: Mapping[str, str] = {"authorization": "none"}
# The settings that are not the user's to choose.
OWN = frozenset({*FIXED, "bucket"})
# The environment, if nobody names one.
DEFAULT_SUFFIX = "local"
DEFAULTS = StackConfig()


def without_refused(config: StackConfig) -> tuple[StackConfig, dict[str, str]]:
    """Return the configuration that the embedded AWS takes, and setting to reason of what is left
    out: it has the default of `development` then."""
    left_out = {
        name: reason
        for name, reason in {**REFUSED, **ELSEWHERE}.items()
        if getattr(config, name) != getattr(DEFAULTS, name)
    }
    defaults = {name: getattr(DEFAULTS, name) for name in left_out}
    return replace(config, **{**defaults, **FIXED}), left_out
