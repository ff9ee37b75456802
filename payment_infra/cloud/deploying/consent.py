"""What a deployment does only if it is asked to, and how to ask for that.

A flag, an environment variable, the configuration file or a preset asks. A setting that none of
them gives has its default: what money, access or protection hang on (`KEPT`) never goes back to
one.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from payment_infra.cloud.deploying.parameters import reserving
from payment_infra.cloud.events import PropertyChange
from payment_infra.config import FIELDS, KEPT, PRESETS
from payment_infra.errors import UsageError
from payment_infra.gateway_names import SIMULATED_GATEWAY, gateway_name
from payment_infra.names import naming_flags
from payment_infra.rules import same_key

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import StackState
    from payment_infra.config import StackConfig
    from payment_infra.record import Record
    from payment_infra.rules import Tags
    from payment_infra.sources import Resolved


def continued(resolved: Resolved, record: Record, state: StackState) -> Resolved:
    """Return the configuration of an update of a stack.

    Without a preset of its own it has the stack's, and the stack's reserved concurrency and
    termination protection unless these are asked for.
    """
    resolved = reserving(on_recorded_preset(resolved, record), state.parameters)
    if resolved.asked_for("termination_protection"):
        return resolved
    kept = replace(resolved.config, termination_protection=state.termination_protection)
    return replace(resolved, config=kept)


def still_protected(resolved: Resolved, *, protected: bool) -> Resolved:
    """Return the configuration with the termination protection of a stack that is made anew.

    It stays unless it is asked for otherwise. That the stack had none says nothing: it is switched
    off before a stack is deleted.
    """
    if not protected or resolved.asked_for("termination_protection"):
        return resolved
    return replace(resolved, config=replace(resolved.config, termination_protection=True))


def on_recorded_preset(resolved: Resolved, record: Record) -> Resolved:
    """Return the configuration with the preset that is recorded, unless one was chosen."""
    if not resolved.preset_chosen and record.preset in PRESETS:
        return resolved.on(record.preset)
    return resolved


def check_kept(name: str, record: Record, resolved: Resolved, command: str) -> None:
    """Make sure that an update takes no kept setting back to a default that was not asked for.

    Args:
        name: the stack's.
        record: its configuration.
        resolved: that of the update, as `continued` returns it.
        command: the whole command that is to be repeated.

    Raises:
        UsageError: it would; says how to keep it, and how to ask for the default.
    """
    lost = unasked(record, resolved, kept=True)
    if not lost:
        return
    new = {field: getattr(resolved.config, field) for field in lost}
    changes = ", ".join(
        f"{field} from {_text(field, old)} to {_text(field, new[field])}"
        for field, old in lost.items()
    )
    simulated = {"gateway": SIMULATED_GATEWAY} if _simulates_production(resolved) else {}
    raise UsageError(
        f"stack {name}: this update would change settings that were not given: {changes}; "
        f"`{command} {_flags({**simulated, **lost})}` keeps them, and {_flags(new)} changes them"
    )


def check_steps(name: str, record: Record, resolved: Resolved) -> None:
    """Make sure that AWS can change in one step what an update wants to change.

    Args:
        name: the stack's.
        record: its configuration.
        resolved: that of the update.

    Raises:
        UsageError: it cannot; says which step comes first.
    """
    _check_endpoint(name, record, resolved)
    _check_tag_keys(name, record, resolved.config)


def _check_endpoint(name: str, record: Record, resolved: Resolved) -> None:
    """See "Change a public or private API endpoint type in API Gateway", and "Security policies for
    REST APIs in API Gateway": Endpoint access mode."""
    was, becomes = record.values.get("endpoint_type"), resolved.config.endpoint_type
    if was in {None, becomes}:
        return
    if record.values.get("endpoint_access_mode") == "strict":
        raise UsageError(
            f"stack {name}: API Gateway changes no endpoint whose access mode is strict; deploy "
            f"--endpoint-type {was} --endpoint-access-mode basic first, then --endpoint-type "
            f"{becomes}"
        )
    if (was, becomes) == ("private", "edge"):
        raise UsageError(
            f"stack {name}: a private API cannot become edge-optimized; deploy --endpoint-type "
            "regional first, then --endpoint-type edge"
        )


def _check_tag_keys(name: str, record: Record, config: StackConfig) -> None:
    """A key that changes in case alone is the same to IAM ("Tags for IAM resources"). A role whose
    old tag is taken away after it got the new one has none; CloudFormation does not say its order.
    """
    had = [str(record.values.get("environment_tag", config.environment_tag))]
    had += cast("Tags", record.values.get("tags", {}))
    if alike := same_key((config.environment_tag, *config.tags), had):
        before, after = alike
        raise UsageError(
            f"stack {name}: the tag {before} would become {after}, which is the same key to IAM, "
            f"and roles could lose both; deploy without {before} first (the key that has the suffix"
            " is environment_tag)"
        )


def check_simulated(name: str, resolved: Resolved, session: Session, command: str) -> None:
    """Make sure that production on AWS has the simulated gateway only if that is asked for.

    Args:
        name: the stack's.
        resolved: the configuration.
        session: where it is deployed to; an embedded AWS has no money to move.
        command: the whole command that is to be repeated.

    Raises:
        UsageError: it would have the simulated gateway, which was not named.
    """
    if _simulates_production(resolved) and not session.embedded:
        again = f"{command} {_flags({'gateway': SIMULATED_GATEWAY})}"
        raise UsageError(
            f"stack {name}: preset production, and no payment gateway is named; the simulated one "
            "would say that payments are processed, and move no money; name yours by --gateway, or "
            f"ask for it: `{again}`"
        )


def returning(record: Record, resolved: Resolved) -> tuple[PropertyChange, ...]:
    """Return what else goes back to its default, since the stack's value is not asked for."""
    return tuple(
        PropertyChange(field, _text(field, old), _text(field, getattr(resolved.config, field)))
        for field, old in unasked(record, resolved, kept=False).items()
    )


def unasked(record: Record, resolved: Resolved, *, kept: bool) -> dict[str, object]:
    """Return the fields that an update changes without being asked to, with the stack's values.

    Args:
        record: the stack's configuration.
        resolved: that of the update.
        kept: whether those on which money, access or protection hang, or the others.
    """
    return {
        name: record.values[name]
        for name in FIELDS
        if name in record.values
        and (name in KEPT) == kept
        and record.values[name] != getattr(resolved.config, name)
        and not resolved.asked_for(name)
    }


def repeated(command: str, name: str, resolved: Resolved, values: Mapping[str, object]) -> str:
    """Return a command with what was given on its command line, and with these values besides.

    Args:
        command: its name.
        name: the stack's.
        resolved: the configuration, and where it came from.
        values: field to value.
    """
    given = {
        field: getattr(resolved.config, field)
        for field, source in resolved.sources.items()
        if source.startswith("--") and field != "suffix"
    }
    if _simulates_production(resolved):
        given["gateway"] = SIMULATED_GATEWAY
    parts = [f"payment-infra {command}", naming_flags(resolved.config.suffix, name)]
    if resolved.file is not None:
        parts.append(f"--config {shlex.quote(str(resolved.file))}")
    # One that the stack records stays by itself; to name it would ask for all that it sets.
    if resolved.preset_chosen:
        parts.append(f"--preset {resolved.preset}")
    chosen = {**given, **values}
    return " ".join([*parts, _flags(chosen)]) if chosen else " ".join(parts)


def _simulates_production(resolved: Resolved) -> bool:
    simulated = resolved.config.gateway == SIMULATED_GATEWAY and not resolved.asked_for("gateway")
    return simulated and resolved.preset == "production"


def _flags(values: Mapping[str, object]) -> str:
    return " ".join(_flag(field, values[field]) for field in FIELDS if field in values)


def _flag(field: str, value: object) -> str:
    flag = field.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    if isinstance(value, Mapping):
        return " ".join(f"--tag {shlex.quote(f'{key}={text}')}" for key, text in value.items())
    return f"--{flag} {shlex.quote(_joined(field, value))}"


def _text(field: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text}" for key, text in value.items()) or "none"
    return _joined(field, value) or "none"


def _joined(field: str, value: object) -> str:
    """Return a value as a flag takes it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return gateway_name(str(value)) if field == "gateway" else str(value)
