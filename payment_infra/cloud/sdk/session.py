"""One account, region and endpoint, and the clients for them."""

import difflib
import ipaddress
import os
import re
import shlex
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound

from payment_infra.cloud.sdk.errors import explain, translated
from payment_infra.errors import AwsError, UnknownProfile, UsageError

DEFAULT_REGION = "us-east-1"
# Seconds that one attempt of a call has to connect, and then to be answered. API Gateway's own
# limit for an answer is 29 s ("Amazon API Gateway quotas"), and no call of this tool waits for work
# to be done. A takeover of the lock waits as long for what is on the wire.
CONNECT_SECONDS, READ_SECONDS = 5, 30
# Retries with backoff ride out throttling; a dead network is given up after some seconds.
CLIENT_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 5},
)
# How AWS names its regions ("AWS Regions"), as eu-central-1, us-gov-west-1, eusc-de-east-1.
REGION_FORM = r"[a-z]{2,4}(-[a-z]+)?-(central|north|south|(north|south)?(east|west))-[1-9]"
# For a caller that waits only to hear whether there is an answer.
QUICK_CONFIG = Config(
    connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)
# What operations begin with that change nothing. Others count as changes, a receive from a queue
# too: it hides messages from others.
READING = (
    *("BatchGet", "Describe", "Detect", "Estimate", "Filter", "Get", "Head", "List", "Lookup"),
    *("Query", "Scan", "Simulate", "Validate"),
)


class Boto:
    """What is used of boto3.Session; S3 transfers are not: their import takes long."""

    def __init__(self, core: botocore.session.Session, region: str) -> None:
        self.region_name = region
        self._core = core

    def client(self, service: str, endpoint_url: str | None, config: Config) -> Any:
        """Return a new client."""
        return self._core.create_client(
            service, region_name=self.region_name, endpoint_url=endpoint_url, config=config
        )

    def get_credentials(self) -> Any:
        """Return the credentials, None if there are none."""
        return self._core.get_credentials()


class Session:
    """Makes clients, each once.

    guard, while it is set, is called directly before each attempt of a call that could change
    something, the SDK's own retries included; what it raises ends the call, which is not sent.
    flags is what a command line gave that led here, as `--region eu-west-1`; "" for nothing.
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
        self.guard: Callable[[], None] | None = None
        self.flags = ""

    @classmethod
    def open(cls, profile: str | None, region: str | None, endpoint_url: str | None) -> "Session":
        """Open the session that the flags and the AWS configuration describe; no network.

        Raises:
            UnknownProfile: the profile does not exist.
            AwsError: the AWS configuration is broken.
            UsageError: the region does not exist.
        """
        try:
            core = botocore.session.Session(profile=profile)
            region = region or os.environ.get("AWS_REGION")
            region = region or core.get_config_variable("region") or DEFAULT_REGION
            core.get_scoped_config()  # which tells whether there is such a profile
        except ProfileNotFound as error:
            raise UnknownProfile(explain(error)) from error
        except BotoCoreError as error:
            raise AwsError(explain(error)) from error
        if endpoint_url is None:
            _check_region(core, region)
        return cls(Boto(core, region), endpoint_url, profile=profile)

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

    @property
    def aws_flags(self) -> list[str]:
        """What leads here in a command line of the AWS CLI, whatever led this tool here."""
        flags = ["--region", self.region]
        if self._endpoint_url:
            flags += ["--endpoint-url", self._endpoint_url]
        if self.profile:
            flags += ["--profile", self.profile]
        return flags

    def aws(self, *commands: str) -> str:
        """Return commands of the AWS CLI, as `sqs delete-queue`, for a person to enter.

        They lead here, and each follows the success of the one before it.
        """
        flags = shlex.join(self.aws_flags)
        return " && ".join(f"aws {command} {flags}" for command in commands)

    def _with(self, config: Config) -> "Session":
        other = Session(self._session, self._endpoint_url, config, self.profile)
        other.flags = self.flags
        return other

    @property
    def region(self) -> str:
        """The region, as us-east-1."""
        return self._session.region_name

    @property
    def endpoint_url(self) -> str | None:
        """The endpoint that stands for every service, if one was given."""
        return self._endpoint_url

    @property
    def embedded(self) -> bool:
        """Whether the endpoint is on this machine, as the embedded AWS is, and none of AWS's."""
        host = ""
        try:
            host = urlsplit(self._endpoint_url or "").hostname or ""
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        with self._lock:  # clients may be used by several threads, but not be made by them
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def _new_client(self, service: str) -> Any:
        try:
            _ = urlsplit(self._endpoint_url or "").port  # botocore checks it only when it calls
            client = self._session.client(
                service, endpoint_url=self._endpoint_url, config=self._config
            )
        except (BotoCoreError, ValueError) as error:
            raise AwsError(f"{service}: {error}; check --endpoint-url") from error
        # botocore emits it for each attempt, after the request is made and signed.
        client.meta.events.register("before-send", self._check)
        return client

    def check(self) -> None:
        """Ask the guard, as before a call that could change something; nothing if there is none."""
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
        with translated("credentials"):
            credentials = self._session.get_credentials()
        if credentials is None:
            raise AwsError("no AWS credentials; set --profile or AWS_PROFILE")
        return credentials

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


def _check_region(core: botocore.session.Session, name: str) -> None:
    """Refuse what is a slip of the keyboard; a region that is newer than boto3 is taken.

    The SDK knows a partition by its name's pattern, and takes it for one of the commercial regions
    otherwise, as the AWS CLI does.
    """
    regions = [
        region
        for partition in core.get_available_partitions()
        for region in core.get_available_regions("cloudformation", partition)
    ]
    if name not in regions and not re.fullmatch(REGION_FORM, name):
        import boto3

        close = difflib.get_close_matches(name, regions, 1)
        hint = f"did you mean {close[0]}?" if close else "see --region and AWS_REGION"
        raise UsageError(f"region {name!r} is unknown to boto3 {boto3.__version__}; {hint}")
