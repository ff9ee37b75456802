"""What AWS and the network answer, in one line that says what to do next."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from payment_infra.cloud.sdk import network
from payment_infra.errors import AwsError

# Error codes that mean the same whichever service gives them (AWS, "Common error types").
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
INVALID = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",  # Amazon S3
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {
    *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"),
    "AuthorizationError",  # Amazon SNS
}
# What services say of what is not there.
MISSING = frozenset(
    {
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NotFound",  # Amazon SNS
        "NotFoundException",  # AWS KMS
        "NoSuchEntity",  # AWS IAM
    }
)
# What an endpoint that stands for AWS says of a call that it does not know.
UNSUPPORTED = frozenset(
    {"InvalidAction", "NotImplemented", "UnknownOperation", "UnknownOperationException", "501"}
)
# Each service has a name of its own for it, as ThrottledException, KMSThrottlingException,
# RequestThrottled, EC2ThrottledException (AWS SDKs and Tools, "Retry behavior"). The SDK takes
# LimitExceededException for it as well, which most services say of a quota: that does not pass.
THROTTLED = re.compile(
    r"throttl(ed|ing)|slow_?down|too_?many_?requests"
    r"|(request_?limit|bandwidth_?limit|throughput)_?exceeded"
    r"|PriorRequestNotComplete|TransactionInProgress",
    re.IGNORECASE,
)
TOO_MANY_REQUESTS = 429  # RFC 6585
PROXY_REFUSES = 407  # RFC 9110, "Proxy Authentication Required"
# What a service says, with a status of 400, when the rest of a request did not arrive.
UNFINISHED = {"RequestTimeout", "RequestTimeoutException"}

# botocore, of what a process has given (RefreshableCredentials).
STILL_EXPIRED = "refreshed credentials are still expired"

# Sources of a role's credentials (IAM, credential_source) that nobody signs in to.
VARIABLES = {
    "Environment": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name another source",
    "EcsContainer": "they are there in containers of Amazon ECS and EKS only",
    "Ec2InstanceMetadata": "they are there on instances of Amazon EC2 with a role only",
}

AGAIN = "repeat the command"
REFRESH = f"sign in again (`aws sso login`, or new keys) and {AGAIN}"
MEND = "mend the AWS configuration (~/.aws/config and credentials, AWS_CONFIG_FILE, AWS_*)"


def is_passing(error: BaseException | None) -> bool:
    """Whether the same call may succeed a little later: throttled, no network, AWS's own fault.

    For an AwsError, the error that it was translated from counts.
    """
    if isinstance(error, AwsError):
        return is_passing(error.__cause__)
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passing = code_of(error) in UNFINISHED or status >= 500
        return passing or is_throttling(error.response)
    return isinstance(error, network.FAILURES) and network.is_passing(error)


def is_missing(error: AwsError) -> bool:
    """Whether what a call was about is not there."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) in MISSING


def is_throttling(response: Mapping[str, Any]) -> bool:
    """Whether an answer, parsed by the SDK, says that there were too many requests.

    Such a request was not carried out.
    """
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return THROTTLED.search(code) is not None or status == TOO_MANY_REQUESTS


def is_unavailable(error: AwsError) -> bool:
    """Whether a call could not be made: it is not allowed, or the endpoint does not know it."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) in DENIED | UNSUPPORTED


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn what botocore raises in the block into an AwsError about `subject`."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise AwsError(f"{subject}: {explain(error)}") from error
    except RuntimeError as error:
        if STILL_EXPIRED not in str(error):
            raise
        raise AwsError(f"{subject}: the AWS credentials have expired; {REFRESH}") from error
    except ResponseParserError as error:
        raise AwsError(
            f"{subject}: what answers there is not AWS; check --endpoint-url, the network and "
            "proxies (HTTP_PROXY, HTTPS_PROXY)"
        ) from error


def code_of(error: ClientError) -> str:
    """Return the service's error code."""
    return error.response.get("Error", {}).get("Code", "")


def explain(error: ClientError | BotoCoreError) -> str:
    """Return what happened and what to do next."""
    if isinstance(error, ClientError):
        return _explain_answer(error)
    if isinstance(error, network.FAILURES):
        return network.told(error)
    line = _one_line(error)
    match error:
        case aws.NoCredentialsError():
            return "no AWS credentials; set --profile or AWS_PROFILE, or run `aws configure`"
        case aws.RefreshWithMFAUnsupportedError():
            return f"the session of the assumed role has ended, and a new one needs a code; {AGAIN}"
        case aws.UnauthorizedSSOTokenError() | aws.LoginRefreshRequired():
            return f"the AWS session has ended; {REFRESH}"
        case aws.SSOError() | aws.TokenRetrievalError() | aws.LoginError():
            return f"not signed in ({line}); {REFRESH}"
        case aws.CredentialRetrievalError():
            return _without_credentials(error)
        case aws.MetadataRetrievalError():
            return f"{line}; {REFRESH}"
        case aws.ProfileNotFound():
            return f"{line}; see `aws configure list-profiles`"
        case aws.PartialCredentialsError() | aws.InvalidConfigError() | aws.ConfigParseError():
            return f"{line}; {MEND}"
        case aws.UnknownCredentialError():
            return f"{line}; {MEND}"
        case _:
            return line


def _without_credentials(error: aws.CredentialRetrievalError) -> str:
    """Say what the named source of credentials has failed with, and what to do about that one."""
    source = str(error.kwargs.get("provider", ""))
    reason = " ".join(str(error.kwargs.get("error_msg", "")).split()).rstrip(".")
    if source == "custom-process":
        told = f"failed: {reason}" if reason else "failed without a word"
        return f"credential_process of the AWS profile has {told}; run it in a shell to see why"
    if source in VARIABLES:
        return f"credential_source {source} gives no credentials ({reason}); {VARIABLES[source]}"
    return f"{_one_line(error)}; {REFRESH}"


def _explain_answer(error: ClientError) -> str:
    code = code_of(error)
    message = error.response.get("Error", {}).get("Message", "")
    answer: Any = error.response.get("ResponseMetadata", {})
    status = answer.get("HTTPStatusCode", "")
    if status == PROXY_REFUSES:
        return f"a proxy lets nothing through without credentials that it takes; {network.PROXIES}"
    if code in EXPIRED:
        return f"the AWS credentials have expired; {REFRESH}"
    if code in INVALID:
        # A region that the account has not enabled does not know its credentials ("Enable or
        # disable AWS Regions in your account"), nor does another partition.
        return (
            f"AWS does not accept these credentials ({code}); check --profile and --region, and "
            "that the account has the region enabled"
        )
    if code in DENIED:
        return f"not allowed to call {error.operation_name} ({message or code})"
    if is_throttling(error.response):
        return f"AWS throttles {error.operation_name}; wait a little and repeat the command"
    return f"{error.operation_name} failed: {message or code or status}".rstrip(".")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
