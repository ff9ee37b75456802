"""One account, region and endpoint, and the clients for them."""

import difflib
import re
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from payment_infra.cloud.events import Tell
from payment_infra.cloud.sdk import configuration, endpoints, network
from payment_infra.cloud.sdk.boto import Boto
from payment_infra.cloud.sdk.errors import explain, translated
from payment_infra.cloud.sdk.patience import Patience
from payment_infra.errors import AwsError, UnknownRegion, UsageError

# How clients behave that no user's configuration says otherwise.
CLIENT_CONFIG = Config(
    connect_timeout=configuration.CONNECT_SECONDS,
    read_timeout=configuration.READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": configuration.MAX_ATTEMPTS},
)
# How AWS names its regions ("AWS Regions"), as eu-central-1, us-gov-west-1, eusc-de-east-1.
REGION_FORM = r"[a-z]{2,4}(-[a-z]+)?-(central|north|south|(north|south)?(east|west))-[1-9]"
# For a caller that waits only to hear whether there is an answer.
QUICK_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
# What botocore raises of an answer that is JSON, and has another shape than it takes for granted.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
# What operations begin with that change nothing. Others count as changes, a receive from a queue
# too: it hides messages from others.
READING = (
    *("BatchGet", "Describe", "Detect", "Estimate", "Filter", "Get", "Head", "List", "Lookup"),
    *("Query", "Scan", "Simulate", "Validate"),
)


class Session:
    """Makes clients, each once.

    guard, while it is set, is called directly before each attempt of a call that could change
    something, the SDK's own retries included; what it raises ends the call, which is not sent. None
    is sent either while some services are in another AWS than the rest (`apart`).
    flags is what the command line and the settings gave that led here, as `--region eu-west-1`.
    """

    def __init__(
        self,
        session: Boto,
        endpoint_url: str | None = None,
        config: Config = CLIENT_CONFIG,
        profile: str | None = None,
    ) -> None:
        self._session = session
        self.profile = profile
        self._endpoint_url = endpoint_url
        self._config = config
        self._clients: dict[str, Any] = {}
        self._lock = Lock()
        self._known_identity: Any = None
        self._patience = Patience()
        self.guard: Callable[[], None] | None = None
        self.flags = ""

    @classmethod
    def open(cls, profile: str | None, region: str | None, endpoint_url: str | None) -> "Session":
        """Open the session that the flags and the AWS configuration describe; no network.

        Raises:
            UnknownProfile: the profile does not exist.
            AwsError: the AWS configuration is broken.
            UnknownRegion: the region does not exist.
            UsageError: another value of the AWS configuration is wrong.
        """
        core, region = configuration.load(profile, region)
        config = configuration.client_config(core)
        boto = Boto(core, region)
        _ = boto.certificates  # which are looked at before anything is sent
        session = cls(boto, endpoint_url, config, profile)
        # What is newer than the SDK is taken. It knows a partition by its names' pattern, and takes
        # all others for commercial regions, as the AWS CLI does.
        known = re.fullmatch(REGION_FORM, region) or region in boto.regions()
        if not known and session.endpoint_url is None:
            raise UnknownRegion(_unknown(region, boto.regions()))
        return session

    def quick(self) -> "Session":
        """Return the same session with clients that soon give up."""
        return self._with(QUICK_CONFIG)

    def unguarded(self, config: Config) -> "Session":
        """Return the same session with clients of its own that no guard is asked about.

        `config` says in what they differ.
        """
        return self._with(self._config.merge(config))

    def command(self, words: str) -> str:
        """Return the words of a command, for a person to enter, with what leads here as well."""
        return f"{words} {self.flags}".rstrip()

    def aws_flags(self, service: str) -> list[str]:
        """Return what leads here in a command line of the AWS CLI, whatever led this tool here.

        service is the SDK's name of what the command calls.
        """
        endpoint = self.aws_endpoint(service)
        named = ["--endpoint-url", endpoint] if endpoint else []
        profile = ["--profile", self.profile] if self.profile else []
        return ["--region", self.region, *named, *profile]

    def aws_endpoint(self, service: str) -> str | None:
        """Return the endpoint that the AWS CLI has to be told for a service, None for none."""
        return self._endpoint_url or self._endpoint_of(service)

    def aws(self, *commands: str) -> str:
        """Return commands of the AWS CLI, as `sqs delete-queue`, for a person to enter.

        They lead here, and each follows the success of the one before it.
        """
        return " && ".join(
            f"aws {command} {shlex.join(self.aws_flags(_service(command)))}" for command in commands
        )

    def _with(self, config: Config) -> "Session":
        other = Session(self._session, self._endpoint_url, config, self.profile)
        other.flags, other._patience = self.flags, self._patience
        return other

    @property
    def region(self) -> str:
        """The region, as us-east-1."""
        return self._session.region_name

    @property
    def endpoint_url(self) -> str | None:
        """The endpoint that stands for AWS, None if that is AWS itself.

        It is CloudFormation's: what makes a stack has its resources.
        """
        return self._endpoint_of("cloudformation")

    def _endpoint_of(self, service: str) -> str | None:
        """Return where a service is that is not at one of AWS's hosts, wherever that is said."""
        url = str(self.client(service).meta.endpoint_url)
        host = urlsplit(url).hostname or ""
        return None if host.endswith(self._session.suffixes) else url

    @property
    def s3_for_cloudformation(self) -> str:
        """Where CloudFormation finds a bucket, as https://s3.eu-west-1.amazonaws.com.

        It takes S3's regional hosts, not what leads there from this machine: a FIPS or dual-stack
        endpoint, or that of a VPC (Amazon S3 User Guide, "Path-style requests").
        """
        if self.endpoint_url is not None:
            return str(self.client("s3").meta.endpoint_url)
        return f"https://s3.{self.region}.{self._session.suffix}"

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded AWS: on this machine, and no customer's account.

        What is on this machine alone may be a way to AWS: a tunnel, or a proxy that signs.

        Raises:
            AwsError: the account cannot be told.
        """
        here = endpoints.is_loopback(self.endpoint_url)
        return here and self.account() == endpoints.EMULATED_ACCOUNT

    @cached_property
    def apart(self) -> str:
        """Which services are in another AWS than CloudFormation, and what to do; "" if none is."""
        if self._endpoint_url or not self._session.names_endpoints:
            return ""
        return endpoints.apart(map(self._located, endpoints.SERVICES))

    def _located(self, service: str) -> endpoints.Endpoint:
        url = self._endpoint_of(service)
        service_id = self.client(service).meta.service_model.service_id
        return endpoints.Endpoint(service, url, endpoints.source(service_id, url))

    @property
    def attempt_seconds(self) -> float:
        """How long one attempt of a call may take."""
        config = self.client("cloudformation").meta.config
        return float(config.connect_timeout + config.read_timeout)

    def http(self, url: str) -> network.Http:
        """Return what sends requests to an address as the clients send theirs.

        Raises:
            UsageError: the proxy's address cannot be used.
        """
        config = self.client("cloudformation").meta.config
        return network.http(url, self._session.certificates, config)

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        with self._lock:  # clients may be used by several threads, but not be made by them
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: str) -> Any:
        self._found_credentials()  # which the client would ask for
        try:
            client = self._session.client(
                service, endpoint_url=self._endpoint_url, config=self._config
            )
            url = client.meta.endpoint_url
            _ = urlsplit(url).port  # botocore checks it only when it calls
        except BotoCoreError as error:
            raise AwsError(f"{service}: {explain(error)}") from error
        except ValueError as error:
            raise AwsError(
                f"{service}: {error}; check --endpoint-url, AWS_ENDPOINT_URL and the profile's "
                "endpoint_url"
            ) from error
        if client.meta.config.proxies is None:
            network.proxies(url)
        # botocore emits it for each attempt, after the request is made and signed. A wait for one's
        # turn (retry mode adaptive) comes before.
        client.meta.events.register_last("before-send", self._check)
        self._patience.register(client)
        return client

    def patient(self, tell: Tell) -> AbstractContextManager[None]:
        """Have what AWS throttles made again for minutes, in the block, and by the sessions that
        come from this one; tell is told of it."""
        return self._patience.asked_for(tell)

    def check(self) -> None:
        """Ask the guard, if there is one, as before a call that could change something.

        Raises:
            UsageError: not all services are in one AWS.
        """
        if self.apart:
            raise UsageError(self.apart)
        if self.guard:
            self.guard()

    def _check(self, event_name: str, **_: Any) -> None:
        if not event_name.rpartition(".")[2].startswith(READING):
            self.check()

    def credentials(self) -> Any:
        """Return the credentials to sign with.

        Raises:
            AwsError: there are none.
        """
        credentials = self._found_credentials()
        if credentials is None:
            raise AwsError("no AWS credentials; set --profile or AWS_PROFILE")
        return credentials

    def _found_credentials(self) -> Any:
        with translated("credentials"):
            try:
                return self._session.get_credentials()
            except (OSError, *MALFORMED) as error:  # of a process that is to give them
                raise AwsError(
                    f"credential_process of the AWS profile gives no credentials ({error}); run it "
                    "in a shell to see why"
                ) from error

    def account(self) -> str:
        """Return the account's id of 12 digits; the first call that proves the credentials."""
        return str(self.identity()["Account"])

    def principal(self) -> str:
        """Return the caller's ARN."""
        return str(self.identity()["Arn"])

    def identity(self) -> Any:
        """Return the answer of GetCallerIdentity, which is asked for once."""
        if self._known_identity is None:
            with translated(f"AWS account in {self.region}"):
                self._known_identity = self.client("sts").get_caller_identity()
        return self._known_identity


def _service(command: str) -> str:
    """Return the SDK's name of what a command of the AWS CLI calls."""
    name = command.partition(" ")[0]
    return "s3" if name == "s3api" else name


def _unknown(name: str, regions: list[str]) -> str:
    import boto3

    close = difflib.get_close_matches(name, regions, 1)
    hint = f"did you mean {close[0]}?" if close else "see --region and AWS_REGION"
    return f"region {name!r} is unknown to boto3 {boto3.__version__}; {hint}"
