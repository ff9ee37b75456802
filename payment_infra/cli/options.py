"""The groups of options that commands share, and what they turn into."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.app import App
from payment_infra.config import FIELDS, PRESETS
from payment_infra.errors import UsageError
from payment_infra.names import STACK_NAME_PREFIX
from payment_infra.sources import Resolved, resolve

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import Stack

Command = Callable[..., Any]

AWS_FLAGS = ("profile", "region", "endpoint_url")
CONFIG_FLAGS = ("config", "preset")


def config_options(*names: str) -> Callable[[Command], Command]:
    """Add a flag for each named field (all, if none is named) and for the preset and the file.

    The command gets the result as `resolved`.
    """
    chosen = names or tuple(FIELDS)

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def wrapper(*args: Any, preset: str | None, config: Path | None, **kwargs: Any) -> Any:
            flags = {name: kwargs.pop(name) for name in chosen} | {"preset": preset}
            resolved = resolve(flags, os.environ, config)
            return function(*args, resolved=resolved, **kwargs)

        return config_flags(*chosen)(wrapper)

    return decorate


def config_flags(*names: str) -> Callable[[Command], Command]:
    """Add the flags of config_options; the command gets their values as they were given."""

    def decorate(function: Command) -> Command:
        decorated = function
        for name in reversed(names):
            decorated = _field_option(name)(decorated)
        decorated = click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="PAYMENT_INFRA_CONFIG",
            help="Configuration file.  [default: payment-infra.toml, if there is one]",
        )(decorated)
        return click.option(
            "--preset",
            metavar="|".join(PRESETS),
            shell_complete=_complete_preset,
            help="Where the defaults come from.",
        )(decorated)

    return decorate


def _complete_preset(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in PRESETS if name.startswith(incomplete)]


def _field_option(name: str) -> Callable[[Command], Command]:
    spec = FIELDS[name]
    flag = name.replace("_", "-")
    text = spec.metadata["help"]
    if spec.type is bool:
        return click.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
    if name == "tags":
        return click.option(
            "--tag", name, multiple=True, metavar="KEY=VALUE", callback=_join_tags, help=text
        )
    if spec.type == tuple[str, ...]:
        listed = {"multiple": True, "metavar": "TEXT,...", "callback": _join_values}
        return click.option(f"--{flag}", name, help=text, **listed)  # type: ignore[arg-type]
    return click.option(f"--{flag}", name, metavar=_metavar(spec.type), help=text)


def _join_values(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> str | None:
    return ",".join(value) if value else None


def _metavar(kind: object) -> str:
    return "NUMBER" if kind is int else "TEXT"


def _join_tags(ctx: click.Context, _: click.Parameter, value: tuple[str, ...]) -> object:
    pairs = [text.partition("=") for text in value]
    if not all(separator for _, separator, _ in pairs):
        raise click.BadParameter("must be KEY=VALUE", ctx=ctx)
    return {key: text for key, _, text in pairs} or None


def aws_options(function: Command) -> Command:
    """Add what says which account and region to work in; the command gets `session`."""

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        profile: str | None,
        region: str | None,
        endpoint_url: str | None,
        **kwargs: Any,
    ) -> Any:
        app = click.get_current_context().ensure_object(App)
        session = app.connect(profile, region, endpoint_url)
        session.flags = entered_flags(*AWS_FLAGS)
        return function(*args, session=session, **kwargs)

    return aws_flags(wrapper)


def entered_flags(*names: str) -> str:
    """Return which of these flags the command line gave, as a person can repeat them."""
    import shlex

    context = click.get_current_context()
    return " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(context.params[name]))}"
        for name in names
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    )


def aws_flags(function: Command) -> Command:
    """Add the flags of aws_options; the command gets their values, and nothing is opened."""
    decorated = function
    for decorate in (
        click.option(
            "--endpoint-url",
            metavar="URL",
            envvar="AWS_ENDPOINT_URL",
            help="Another endpoint for every service.",
        ),
        click.option(
            "--region",
            metavar="NAME",
            envvar="AWS_REGION",
            help="AWS region.  [default: the AWS configuration's, else us-east-1]",
        ),
        click.option("--profile", metavar="NAME", help="Profile of the AWS configuration."),
    ):
        decorated = decorate(decorated)
    return decorated


def stack_name_option(function: Command) -> Command:
    """Add --stack-name, which is None unless given."""
    return click.option(
        "--stack-name",
        metavar="NAME",
        callback=_check_stack_name,
        help=f"Name of the stack.  [default: {STACK_NAME_PREFIX}-SUFFIX]",
    )(function)


def _check_stack_name(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    import re

    # CloudFormation API, CreateChangeSet, StackName.
    if value is not None and not re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", value):
        raise click.BadParameter(
            f"{value!r} must be 1 to 128 letters, digits and dashes, the first a letter", ctx=ctx
        )
    return value


def output_option(function: Command) -> Command:
    """Add --output; JSON on stdout is one document."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Form of what goes to stdout.",
    )(function)


def yes_option(function: Command) -> Command:
    """Add --yes, which answers every question."""
    return click.option("-y", "--yes", is_flag=True, help="Answer yes to every question.")(function)


def take_over_option(function: Command) -> Command:
    """Add --take-over, which names the generation of the lock that a holder has left."""
    return click.option(
        "--take-over",
        type=click.IntRange(1),
        metavar="GENERATION",
        help="Take the lock from a holder that has ended.",
    )(function)


def require_suffix(resolved: Resolved) -> str:
    """Return the suffix.

    Raises:
        UsageError: no source gives one.
    """
    if not resolved.config.suffix:
        raise UsageError(
            "no environment: give --suffix, PAYMENT_INFRA_SUFFIX, or suffix in payment-infra.toml"
        )
    return resolved.config.suffix


def stack_name_of(resolved: Resolved, stack_name: str | None) -> str:
    """Return the given stack name, or the default one for the suffix."""
    return stack_name or f"{STACK_NAME_PREFIX}-{require_suffix(resolved)}"


def stack_of(session: Session, resolved: Resolved, stack_name: str | None) -> Stack:
    """Return the stack that a command is about, with the flags that lead to it once more."""
    from payment_infra.cloud.stacks.stack import Stack
    from payment_infra.names import naming_flags

    name = stack_name_of(resolved, stack_name)
    flags = (
        naming_flags(resolved.config.suffix, name),
        entered_flags(*CONFIG_FLAGS),
        session.flags,
    )
    client = session.client("cloudformation")
    return Stack(client, name, flags=" ".join(flag for flag in flags if flag))


def environment_options(function: Command) -> Command:
    """Add what names a deployed environment; the command gets it as `environment`."""

    @functools.wraps(function)
    def wrapper(
        *args: Any, session: Any, resolved: Resolved, stack_name: str | None, **kwargs: Any
    ) -> Any:
        from payment_infra.cloud.environment.environment import Environment

        suffix = require_suffix(resolved)
        stack = stack_of(session, resolved, stack_name)
        environment = Environment.find(session, stack, suffix)
        return function(*args, environment=environment, **kwargs)

    return config_options("suffix")(stack_name_option(aws_options(wrapper)))
