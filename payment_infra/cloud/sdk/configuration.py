"""The AWS configuration of who runs this: read as the AWS CLI reads it, and checked.

Files, profiles and variables are botocore's; what it takes from them otherwise than version 2 of
the AWS CLI, or what has another default, is said here. Credentials of an assumed role, with those
of a web identity and of SSO, are in the AWS CLI's cache, so that a code of MFA is asked for once.
"""

from __future__ import annotations

import getpass
import os
import warnings
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import create_credential_resolver
from botocore.exceptions import (
    BotoCoreError,
    InvalidMaxRetryAttemptsError,
    InvalidRetryModeError,
    ProfileNotFound,
)
from botocore.utils import JSONFileCache

from payment_infra.cloud.sdk.errors import explain
from payment_infra.errors import AwsError, UnknownProfile, UsageError

DEFAULT_REGION = "us-east-1"
# Seconds that one attempt of a call has to connect, and then to be answered, unless a mode of
# defaults says otherwise (AWS SDKs and Tools, "Smart configuration defaults"). API Gateway's own
# limit for an answer is 29 s ("Amazon API Gateway quotas"), and no call of this tool waits for work
# to be done.
CONNECT_SECONDS, READ_SECONDS = 5, 30
# Attempts with backoff ride out throttling; a dead network is given up after some seconds.
MAX_ATTEMPTS = 5
# Name to the profile's key, the variables that come before it, the default, and how it is read.
VARIABLES: dict[str, tuple[str | None, str | list[str], object, object]] = {
    # In the AWS CLI's order; botocore knows no AWS_REGION, and has the profiles' the other way
    # round (AWS CLI User Guide, "Configuring environment variables for the AWS CLI").
    "profile": (None, ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"], None, None),
    "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None),
    "max_attempts": ("max_attempts", "AWS_MAX_ATTEMPTS", MAX_ATTEMPTS, int),
    "retry_mode": ("retry_mode", "AWS_RETRY_MODE", "standard", None),
}
NUMBERS = ("max_attempts", "metadata_service_timeout", "metadata_service_num_attempts")
# Modes of defaults that no table has.
OTHER_MODES = ("legacy", "auto")
# What begins a certificate in a file (RFC 7468, "Textual Encoding of Certificates").
PEM = b"-----BEGIN "
# AWS SDKs and Tools, "AWS STS Regional endpoints".
STS_ENDPOINTS = ("legacy", "regional")
# How botocore calls the way to credentials by the token of a web identity, and where it looks for
# the token's file; not at the variable if a profile was named.
WEB_IDENTITY = "assume-role-with-web-identity"
TOKEN_KEY, TOKEN_VARIABLE = "web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE"
# Where the AWS CLI keeps credentials of assumed roles, with botocore's names for the files.
CACHE = os.path.join("~", ".aws", "cli", "cache")


def load(profile: str | None, region: str | None) -> tuple[botocore.session.Session, str]:
    """Return botocore's session with a profile, None for the user's own, and the region.

    Raises:
        UnknownProfile: there is no such profile.
        AwsError: a file cannot be read.
        UsageError: a value is wrong.
    """
    core = botocore.session.Session(session_vars=VARIABLES, profile=profile)
    try:
        region = region or core.get_config_variable("region") or DEFAULT_REGION
        core.get_scoped_config()  # which tells whether there is such a profile
        for name in NUMBERS:
            _check_number(core, name)
        resolver = create_credential_resolver(core, cache=_cache(), region_name=region)
    except ProfileNotFound as error:
        raise UnknownProfile(explain(error)) from error
    except BotoCoreError as error:
        raise AwsError(explain(error)) from error
    assume_role: Any = resolver.get_provider("assume-role")
    assume_role._prompter = ask_code  # noqa: SLF001 - botocore passes none on
    core.register_component("credential_provider", resolver)
    return core, region


def client_config(core: botocore.session.Session) -> Config:
    """Return how clients behave: as the user's configuration says, else by the defaults here.

    Raises:
        UsageError: a value of that is wrong.
    """
    if core.get_config_variable("sts_regional_endpoints") not in STS_ENDPOINTS:
        raise _wrong(core, "sts_regional_endpoints", f"one of {', '.join(STS_ENDPOINTS)}")
    mode = str(core.get_config_variable("defaults_mode")).lower()
    modes = core.get_component("data_loader").load_data("sdk-default-configuration")["modes"]
    if mode not in (*OTHER_MODES, *modes):
        raise _wrong(core, "defaults_mode", f"one of {', '.join((*OTHER_MODES, *modes))}")
    try:
        return Config(
            connect_timeout=CONNECT_SECONDS if mode == "legacy" else None,  # None: as the mode says
            read_timeout=READ_SECONDS,
            retries={
                "mode": core.get_config_variable("retry_mode"),
                "total_max_attempts": core.get_config_variable("max_attempts"),
            },
        )
    except InvalidMaxRetryAttemptsError:
        raise _wrong(core, "max_attempts", "at least 1") from None
    except InvalidRetryModeError:
        raise _wrong(core, "retry_mode", "one of legacy, standard, adaptive") from None


def certificates(core: botocore.session.Session) -> str | bool:
    """Return the file of the CAs that are trusted, True for the SDK's own, as botocore chooses it.

    Raises:
        UsageError: it is not one.
    """
    own = core.get_config_variable("ca_bundle")
    path = os.environ.get("REQUESTS_CA_BUNDLE") if own is None else own
    if path is None or path is True:
        return True
    try:
        # To have OpenSSL read a system's whole bundle takes 40 ms, and is done when it is used.
        reason = "" if PEM in Path(path).read_bytes() else "no certificates in it"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        source = "REQUESTS_CA_BUNDLE" if own is None else _source(core, "ca_bundle")
        raise UsageError(
            f"{source}: the file of trusted certificates {path!r} cannot be used ({reason})"
        )
    return str(path)


def check_token(core: botocore.session.Session) -> None:
    """Make sure that the token of a web identity can be read, as botocore finds its file.

    Raises:
        AwsError: it cannot.
    """
    given = core.get_scoped_config().get(TOKEN_KEY)
    source = f"{TOKEN_KEY} of the AWS profile {core.get_config_variable('profile') or 'default'}"
    if TOKEN_VARIABLE in os.environ and core.instance_variables().get("profile") is None:
        given, source = os.environ[TOKEN_VARIABLE], TOKEN_VARIABLE
    try:
        Path(str(given)).read_bytes()
    except OSError as error:
        raise AwsError(
            f"{source}: the file of the token {given!r} cannot be read ({error.strerror})"
        ) from error


class Cache(JSONFileCache):
    """The files of the AWS CLI's cache; what cannot be read or written is as if it were not."""

    def __contains__(self, key: str) -> bool:
        """Whether there are credentials under this key."""
        try:
            return isinstance(self[key]["Credentials"]["Expiration"], str)
        except (KeyError, TypeError):
            return False

    def __setitem__(self, key: str, value: object) -> None:
        """Keep credentials, if that can be done."""
        try:
            super().__setitem__(key, value)
        except OSError:
            return


def ask_code(prompt: str) -> str:
    """Return the code of MFA that a person enters at the terminal, whatever stdin and stdout are.

    Raises:
        AwsError: there is no terminal, or no code was entered.
    """
    device = prompt.removeprefix("Enter MFA code for ").rstrip(": ")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            code = getpass.getpass(prompt)
    except getpass.GetPassWarning as warning:
        raise AwsError(
            f"the profile's role needs a code of the MFA device {device}, and there is no terminal "
            "to enter it; enter it at one, by any command of this tool or of the AWS CLI with this "
            "profile: its credentials are kept for the next commands"
        ) from warning
    except EOFError:
        code = ""
    if not code.strip():
        raise AwsError(f"no code of the MFA device {device} was entered; repeat the command")
    return code.strip()


def _cache() -> Any:
    folder = os.path.expanduser(CACHE)
    return Cache(folder) if os.path.isabs(folder) else {}


def _check_number(core: botocore.session.Session, name: str) -> None:
    try:
        core.get_config_variable(name)
    except ValueError:
        raise _wrong(core, name, "a whole number") from None


def _wrong(core: botocore.session.Session, name: str, rule: str) -> UsageError:
    key, variables = core.session_var_map[name][:2]
    given = os.environ.get(_first(variables), core.get_scoped_config().get(key))
    return UsageError(f"{_source(core, name)}: {given!r} must be {rule}")


def _source(core: botocore.session.Session, name: str) -> str:
    """Return where a value comes from: a variable, or the profile's key."""
    key, variables = core.session_var_map[name][:2]
    if _first(variables) in os.environ:
        return _first(variables)
    profile = core.get_config_variable("profile") or "default"
    return f"{key} of the AWS profile {profile}"


def _first(variables: str | list[str]) -> str:
    return variables if isinstance(variables, str) else variables[0]
