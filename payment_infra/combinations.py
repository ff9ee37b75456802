"""What several settings have to agree on."""

from collections.abc import Callable
from dataclasses import dataclass

from payment_infra.config import StackConfig
from payment_infra.gateway_names import SIMULATED_GATEWAY, comes_along, is_own_gateway
from payment_infra.rules import FIREWALL_WINDOW_SECONDS, same_key

EDGE_CERTIFICATE_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Combination:
    """What several settings have to agree on.

    fields are those that a message names; holds says whether a configuration is right; problem is
    what is wrong otherwise, and what to do.
    """

    fields: tuple[str, ...]
    holds: Callable[[StackConfig], bool]
    problem: str


def _admits_the_throttle(config: StackConfig) -> bool:
    """Whether the firewall lets one address, as a merchant has it, send what the stage admits: the
    throttle is each method's own (API Gateway, "Throttle requests to your REST APIs"), and there
    are two for payments."""
    admitted = FIREWALL_WINDOW_SECONDS * config.throttle_rate_limit + config.throttle_burst_limit
    return not config.firewall or config.firewall_rate_limit >= 2 * admitted


COMBINATIONS: tuple[Combination, ...] = (
    Combination(
        ("environment_tag", "tags"),
        lambda config: (
            not (
                config.environment_tag in config.tags
                or same_key(config.tags, [config.environment_tag])
            )
        ),
        "a tag has the key of the one that holds the suffix, in the same case or another; give "
        "another environment_tag, or no such tag",
    ),
    Combination(
        ("backup_lock_days", "backup_days"),
        # AWS Backup fails a job whose backup would be kept for less ("AWS Backup Vault Lock").
        lambda config: config.backup_lock_days <= config.backup_days,
        "the vault takes no backup that is kept for less than its lock; give more backup_days",
    ),
    Combination(
        ("firewall_rate_limit", "throttle_rate_limit", "throttle_burst_limit"),
        _admits_the_throttle,
        "the firewall admits less from one address than the API does; give a firewall_rate_limit"
        f" of at least 2 x ({FIREWALL_WINDOW_SECONDS} x throttle_rate_limit + "
        "throttle_burst_limit)",
    ),
    Combination(
        ("firewall_health_rate_limit", "firewall_rate_limit"),
        lambda config: config.firewall_health_rate_limit <= config.firewall_rate_limit,
        "the firewall admits more to /health than to all paths; give a lower "
        "firewall_health_rate_limit",
    ),
    Combination(
        ("subnets", "security_groups"),
        lambda config: bool(config.subnets) == bool(config.security_groups),
        "a function in a VPC has subnets and security groups: give both, or none",
    ),
    Combination(
        ("snap_start", "versions"),
        lambda config: config.versions or not config.snap_start,
        "a snapshot is taken of a published version: set versions, or unset snap_start",
    ),
    Combination(
        ("canary_percent", "versions"),
        lambda config: config.versions or not config.canary_percent,
        "a canary is of published versions: set versions, or give a canary_percent of 0",
    ),
    Combination(
        ("snap_start", "runtime"),
        # Lambda, "Improving startup performance with Lambda SnapStart".
        lambda config: config.runtime != "python3.11" or not config.snap_start,
        "SnapStart takes python3.12 and later: choose another runtime, or unset snap_start",
    ),
    Combination(
        ("allowed_accounts", "authorization"),
        lambda config: not config.allowed_accounts or config.authorization == "iam",
        "only who signs has an account; ask for signatures with authorization iam, or allow no "
        "accounts",
    ),
    Combination(
        ("endpoint_type", "allowed_vpc_endpoints"),
        lambda config: (config.endpoint_type == "private") == bool(config.allowed_vpc_endpoints),
        "a private API, and no other, is called by VPC endpoints; name those that may with "
        "endpoint_type private, or none",
    ),
    Combination(
        ("vpc_endpoints", "allowed_vpc_endpoints"),
        lambda config: set(config.vpc_endpoints) <= set(config.allowed_vpc_endpoints),
        "a name is of use to an endpoint that may call; allow each that gets one",
    ),
    Combination(
        ("gateway_requirements", "gateway"),
        # Those that come along need none; what is tried with them has the real one's settings.
        lambda config: (
            not config.gateway_requirements
            or comes_along(config.gateway)
            or is_own_gateway(config.gateway)
        ),
        "these are packaged with a gateway of its own file; name it as FILE.py:CLASS, or pin them "
        "in handlers/requirements.txt",
    ),
    Combination(
        ("gateway_events", "gateway"),
        lambda config: not config.gateway_events or config.gateway != SIMULATED_GATEWAY,
        "the simulated gateway tells nothing by itself; name another gateway, or give "
        "--no-gateway-events",
    ),
    Combination(
        ("domain_name", "domain_certificate"),
        lambda config: bool(config.domain_name) == bool(config.domain_certificate),
        "a domain name needs its certificate, which is of no use alone; give both, or none",
    ),
    Combination(
        ("domain_name", "endpoint_type"),
        lambda config: not config.domain_name or config.endpoint_type != "private",
        "a private API gets no domain name here; choose another endpoint_type, or none",
    ),
    Combination(
        ("domain_certificate", "endpoint_type"),
        # AWS::ApiGateway::DomainName, CertificateArn. Another partition has no such region, and no
        # edge-optimized endpoint.
        lambda config: (
            config.endpoint_type != "edge"
            or not config.domain_certificate
            or config.domain_certificate.split(":")[3] == EDGE_CERTIFICATE_REGION
        ),
        "an edge-optimized domain name takes a certificate of "
        f"{EDGE_CERTIFICATE_REGION}; name one, or choose endpoint_type regional",
    ),
    Combination(
        ("domain_truststore", "domain_name", "endpoint_type"),
        # API Gateway, "How to turn on mutual TLS authentication for your REST APIs".
        lambda config: (
            not config.domain_truststore
            or (config.endpoint_type == "regional" and bool(config.domain_name))
        ),
        "a regional domain name, and nothing else, can ask for client certificates; give a "
        "domain_name with endpoint_type regional",
    ),
    Combination(
        ("domain_truststore", "execute_api_endpoint"),
        lambda config: not (config.domain_truststore and config.execute_api_endpoint),
        "API Gateway's own name asks for no client certificate; close it with "
        "--no-execute-api-endpoint",
    ),
    Combination(
        ("execute_api_endpoint", "domain_name"),
        lambda config: config.execute_api_endpoint or bool(config.domain_name),
        "without API Gateway's own name the API needs another; give a domain_name",
    ),
)


def conflicts(config: StackConfig) -> list[Combination]:
    """Return the combinations that a configuration breaks."""
    return [combination for combination in COMBINATIONS if not combination.holds(config)]
