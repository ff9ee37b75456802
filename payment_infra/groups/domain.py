"""The API's own domain name, its TLS, and the client certificates that it may ask for."""

from dataclasses import dataclass

from troposphere import Output, Sub
from troposphere.apigateway import (
    BasePathMapping,
    DomainName,
    EndpointConfiguration,
    MutualTlsAuthentication,
    RestApi,
    Stage,
)

from payment_infra.config import StackConfig
from payment_infra.groups.tls import LEGACY_POLICY, enhanced
from payment_infra.naming import filled


@dataclass(frozen=True)
class Domain:
    """The domain name, and what leads from it to the stage."""

    name: DomainName
    mapping: BasePathMapping
    outputs: tuple[Output, ...]

    @property
    def url(self) -> Sub:
        """The address of the API: without the stage, which the mapping names."""
        return filled("https://${Domain}/", Domain=self.name.ref())


def build_domain(config: StackConfig, rest_api: RestApi, stage: Stage) -> Domain | None:
    """Build the domain name in front of the stage, None where none is asked for.

    Its certificate is that of an edge-optimized endpoint, in us-east-1, or that of a regional one,
    in the stack's region ("Choose a certificate", AWS::ApiGateway::DomainName).
    """
    if not config.domain_name:
        return None
    edge = config.endpoint_type == "edge"
    certificate = "CertificateArn" if edge else "RegionalCertificateArn"
    name = DomainName(
        "PaymentDomain",
        DomainName=config.domain_name,
        EndpointConfiguration=EndpointConfiguration(Types=[config.endpoint_type.upper()]),
        **{certificate: config.domain_certificate},
        **_tls(config),
    )
    mapping = BasePathMapping(
        "PaymentDomainMapping",
        DomainName=name.ref(),
        RestApiId=rest_api.ref(),
        Stage=stage.ref(),
    )
    # What a DNS record leads to; a record that is an alias needs the hosted zone too.
    kind = "Distribution" if edge else "Regional"
    outputs = (
        Output(
            "DomainTarget",
            Description="Where the DNS record of the domain name leads to",
            Value=name.get_att(f"{kind}DomainName"),
        ),
        Output(
            "DomainHostedZoneId",
            Description="Hosted zone of that, for an alias record of Route 53",
            Value=name.get_att(f"{kind}HostedZoneId"),
        ),
    )
    return Domain(name=name, mapping=mapping, outputs=outputs)


def _tls(config: StackConfig) -> dict[str, object]:
    """Return the properties that say by which TLS the domain name is called.

    A name that asks for client certificates takes no enhanced policy ("Choose a security policy for
    your custom domain in API Gateway").
    """
    if not config.domain_truststore:
        return enhanced(config)
    return {
        "SecurityPolicy": LEGACY_POLICY,
        "MutualTlsAuthentication": MutualTlsAuthentication(TruststoreUri=config.domain_truststore),
    }
