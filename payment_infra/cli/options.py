"""The groups of options that commands share, and what they turn into."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.app import App
from payment_infra.cli.everywhere import TAKE_OVER
from payment_infra.cli.option_types import OutputFile, Renamed
from payment_infra.cli.views.output import note
from payment_infra.config import FIELDS, PRESETS
from payment_infra.errors import UnknownProfile, UnknownRegion, UsageError
from payment_infra.names import STACK_NAME_PREFIX
from payment_infra.place import PLACE
from payment_infra.sources import Resolved, resolve

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import Stack
    from payment_infra.place import Place

Command = Callable[..., Any]

# Longer than anybody waits, and shorter than what a clock or a pause can take.
MAX_INTERVAL_SECONDS = 86_400
MAX_TIMEOUT_MINUTES = 7 * 24 * 60
CONFIG_FLAGS = ("config", "preset")


def config_options(*names: str, suffix: str = "") -> Callable[[Command], Command]:
    """Add a flag for each named field (all, if none is named) and for the preset and the file.

    The command gets the result as `resolved`, with the place that its other flags name. `suffix` is
    the environment if no source names one. A preset sets nothing of a few fields that are named, so
    its flag is then one for scripts that give it all the same.
    """
    chosen = names or tuple(FIELDS)
    add = partial(config_flags, hides_preset=bool(names) and not _set_by_presets(names))
    return lambda function: add(*chosen)(_resolving(function, suffix))


def _set_by_presets(names: Iterable[str]) -> bool:
    return any(name in preset for preset in PRESETS.values() for name in names)


def place_options(function: Command) -> Command:
    """Add what a command needs that is about an account and region; the command gets `session`."""

    @wraps(function)
    def wrapper(*args: Any, resolved: Resolved, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    decorated = _config_option(_resolving(aws_options(wrapper)))
    return click.option(
        "--suffix", metavar="TEXT", help="Environment whose profile and region are used."
    )(decorated)


def _resolving(function: Command, suffix: str = "") -> Command:
    """Turn the flags of the settings and the place into `resolved`."""

    @wraps(function)
    def wrapper(*args: Any, config: Path | None, **kwargs: Any) -> Any:
        names = [name for name in ("preset", *FIELDS, *PLACE) if name in kwargs]
        flags = {name: kwargs.pop(name) for name in names}
        return function(*args, resolved=resolve(flags, os.environ, config, suffix), **kwargs)

    return wrapper


def config_flags(*names: str, hides_preset: bool = False) -> Callable[[Command], Command]:
    """Add the flags of config_options; the command gets their values as they were given."""

    def decorate(function: Command) -> Command:
        decorated = function
        for name in reversed(names):
            decorated = _field_option(name)(decorated)
        return click.option(
            "--preset",
            metavar="|".join(PRESETS),
            shell_complete=_complete_preset,
            hidden=hides_preset,
            help="Where the defaults come from.",
        )(_config_option(decorated))

    return decorate


def _config_option(function: Command) -> Command:
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="PAYMENT_INFRA_CONFIG",
        help="Configuration file.  [default: payment-infra.toml, if there is one]",
    )(function)


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
    """Add what says which account and region to work in; the command gets `session`.

    It stands within what makes `resolved`.
    """

    @wraps(function)
    def wrapper(*args: Any, resolved: Resolved, endpoint_url: str | None, **kwargs: Any) -> Any:
        app = click.get_current_context().ensure_object(App)
        session = connect(app, resolved.place, endpoint_url)
        return function(*args, session=session, resolved=resolved, **kwargs)

    return aws_flags(wrapper)


def connect(app: App, place: Place, endpoint_url: str | None) -> Session:
    """Open the session of a place, with the flags that lead there from anywhere.

    Raises:
        UnknownProfile: there is no such profile; the file or variable that asks for it is named.
        UnknownRegion: the same of the region.
    """
    try:
        session = app.connect(place.profile or None, place.region or None, endpoint_url)
    except (UnknownProfile, UnknownRegion) as error:
        name = "profile" if isinstance(error, UnknownProfile) else "region"
        source = place.sources.get(name, "")
        if not source or source.startswith("--"):
            raise
        raise type(error)(f"{source}: {error}") from error
    named = (name for name in ("profile", "region") if name in place.sources)
    flags = [f"--{name} {shlex.quote(getattr(place, name))}" for name in named]
    session.flags = " ".join(filter(None, (*flags, entered_flags("endpoint_url"))))
    return session


def entered_flags(*names: str) -> str:
    """Return which of these flags the command line gave, as a person can repeat them."""
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
            help="Another endpoint for every service.  [default: the AWS configuration's]",
        ),
        _place_option("region"),
        _place_option("profile"),
    ):
        decorated = decorate(decorated)
    return decorated


def region_option(function: Command) -> Command:
    """Add --region alone, for a command that calls nothing there."""
    return _place_option("region")(function)


def stack_name_option(function: Command) -> Command:
    """Add --stack-name."""
    return _place_option("stack_name")(function)


def _place_option(name: str) -> Callable[[Command], Command]:
    text = PLACE[name].metadata["help"]
    return click.option(f"--{name.replace('_', '-')}", metavar="NAME", help=text)


def output_option(function: Command) -> Command:
    """Add --output; JSON on stdout is one document."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Form of what goes to stdout.",
    )(function)


def yes_option(function: Command, others: str = "") -> Command:
    """Add --yes, which answers every question but those that have an answer of their own: what
    access, stored data or payments hang on. `others` says which options answer these.
    """
    but = f" but those that {others}" if others else ""
    return click.option("-y", "--yes", is_flag=True, help=f"Answer yes to every question{but}.")(
        function
    )


def names_of(known: Collection[str]) -> Any:
    """Return the callback of an option that takes names, with commas between them."""

    def parse(ctx: click.Context, _: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
        names = frozenset(name for text in value for name in text.split(",") if name)
        if unknown := names - set(known):
            raise click.BadParameter(f"{min(unknown)!r} is not one of {', '.join(known)}", ctx=ctx)
        return names

    return parse


def allow_option(
    function: Command,
    names: Collection[str] = ("gateway",),
    help_text: str = "Let it change the gateway while payments are in flight: gateway.",
) -> Command:
    """Add --allow, which names what is not done otherwise, whatever --yes answers."""
    return click.option(
        "--allow",
        multiple=True,
        metavar="NAME,...",
        callback=names_of(names),
        help=help_text,
    )(function)


def method_option(function: Command) -> Command:
    """Add --payment-method: what a check pays with where a gateway needs it."""
    return click.option(
        "--payment-method",
        default="",
        metavar="TOKEN",
        help="What a real gateway charges with --pay, if it needs a payment method.",
    )(function)


def secret_option(flag: str) -> Callable[[Command], Command]:
    """Add what names the file with a gateway's secret; the command gets its text as `secret`, ""
    for none."""

    def decorate(function: Command) -> Command:
        @wraps(function)
        def wrapper(*args: Any, secret_file: str | None, **kwargs: Any) -> Any:
            return function(*args, secret=_secret_in(secret_file), **kwargs)

        return click.option(
            flag,
            "secret_file",
            metavar="FILE",
            type=click.Path(),
            help="File with the secret of the gateway's sandbox, - for stdin.",
        )(wrapper)

    return decorate


def _secret_in(file: str | None) -> str:
    from payment_infra.secret_file import read_secret

    if file is None:
        return ""
    secret = read_secret(file)
    if secret.warning:
        note(f"Warning: {secret.warning}")
    return secret.text


def out_option(
    name: str, meaning: str, *earlier: str, **attributes: Any
) -> Callable[[Command], Command]:
    """Add -o and --out: where that goes which the command writes.

    The command gets it as `name`; `earlier` are names that the option had.
    """
    attributes = {"metavar": "FILE", "type": OutputFile(str), "help": meaning, **attributes}
    return click.option("-o", "--out", name, cls=Renamed, earlier=earlier, **attributes)


def skip_option(function: Command) -> Command:
    """Add --skip."""
    return click.option(
        "--skip",
        multiple=True,
        metavar="RESOURCE",
        help="Leave a resource as it is when a failed rollback is continued; may be repeated.",
    )(function)


def take_over_option(function: Command) -> Command:
    """Add --take-over, which names the generation of the lock that a holder has left."""
    return click.option(
        TAKE_OVER,
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


def stack_name_of(resolved: Resolved) -> str:
    """Return the name of the stack that a command is about."""
    return resolved.place.stack_name or f"{STACK_NAME_PREFIX}-{require_suffix(resolved)}"


def stack_of(session: Session, resolved: Resolved) -> Stack:
    """Return the stack that a command is about, with the flags that lead to it once more."""
    from payment_infra.cloud.stacks.stack import Stack
    from payment_infra.names import naming_flags

    name = stack_name_of(resolved)
    flags = (
        naming_flags(resolved.config.suffix, name),
        entered_flags(*CONFIG_FLAGS),
        session.flags,
    )
    client = session.client("cloudformation")
    return Stack(client, name, flags=" ".join(flag for flag in flags if flag))


def environment_options(function: Command) -> Command:
    """Add what names a deployed environment; the command gets it as `environment`."""

    @wraps(function)
    def wrapper(*args: Any, session: Any, resolved: Resolved, **kwargs: Any) -> Any:
        from payment_infra.cloud.environment.environment import Environment

        suffix = require_suffix(resolved)
        stack = stack_of(session, resolved)
        environment = Environment.find(session, stack, suffix)
        return function(*args, environment=environment, **kwargs)

    return config_options("suffix")(stack_name_option(aws_options(wrapper)))
