"""Which TLS an endpoint of API Gateway takes: 1.2 and 1.3 with forward secrecy, nowhere less.

API Gateway's enhanced policies are named differently for edge-optimized endpoints and for others
("Supported security policies"), need an access mode ("Security policies for REST APIs in API
Gateway", Endpoint access mode), and are not what every partition has: GovCloud takes none of them
("Amazon API Gateway in AWS GovCloud (US)"). There the legacy policy TLS_1_2 stands in their place;
it can be given when an API is made, which there is always so, since neither partition takes the
edge-optimized endpoint that this template had before.
"""

from troposphere import Condition, Equals, If, Ref

from payment_infra.config import StackConfig

# Whether this is the partition of the commercial regions, which alone has edge-optimized endpoints
# ("Amazon API Gateway in AWS GovCloud (US)", "Getting Started with AWS in China": API Gateway).
COMMERCIAL = "Aws"
CONDITIONS: dict[str, Condition] = {COMMERCIAL: Equals(Ref("AWS::Partition"), "aws")}

POLICIES = {
    "edge": "SecurityPolicy_TLS12_PFS_2025_EDGE",
    "regional": "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09",
    "private": "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09",
}
LEGACY_POLICY = "TLS_1_2"


def endpoint_type(config: StackConfig) -> object:
    """Return the type of the endpoint; one that is edge-optimized is regional where none is."""
    name = config.endpoint_type.upper()
    return If(COMMERCIAL, name, "REGIONAL") if name == "EDGE" else name


def enhanced(config: StackConfig) -> dict[str, object]:
    """Return the properties SecurityPolicy and EndpointAccessMode of an API or a domain name."""
    mode = config.endpoint_access_mode.upper()
    return {
        "SecurityPolicy": If(COMMERCIAL, POLICIES[config.endpoint_type], LEGACY_POLICY),
        "EndpointAccessMode": If(COMMERCIAL, mode, Ref("AWS::NoValue")),
    }
