"""Stopping payments while the stack moves to another table, and letting them in again.

The POST methods are throttled to zero, so callers get 429, and payment-retry takes nothing from
the queue, where messages wait. What the gateway tells by itself is answered with 503, so that it is
told again: a variable of the stage says so to the function, which gets it with every request (API
Gateway, "Use stage variables for a REST API in API Gateway"). The scheduled run continues: it only
moves leases forward, and queues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.polling import countdown, looks, persistently
from payment_infra.names import (
    CANCELLATION_FUNCTION,
    GATEWAY_EVENTS_FUNCTION,
    PROCESSING_FUNCTION,
    REST_API,
    RETRY_EVENT_SOURCE,
    RETRY_FUNCTION,
    STAGE,
    STAGE_NAME,
    STOPPED_VARIABLE,
    VALIDATION_FUNCTION,
)

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell

# The methods by which payments come in and change, and what answers them.
METHODS = {
    "validate": VALIDATION_FUNCTION,
    "process": PROCESSING_FUNCTION,
    "cancel": CANCELLATION_FUNCTION,
}
# What the gateway tells by itself, as `stopped` names it.
NOTIFICATIONS = "notifications"
EVERY_METHOD = "*/*"
VARIABLE = f"/variables/{STOPPED_VARIABLE}"
RETRIES = "event source mapping of payment-retry"
# States of an event source mapping: those in which nothing changes, those in which it takes no
# message.
AT_REST = frozenset({"Enabled", "Disabled"})
SWITCHED_OFF = frozenset({"Disabled", "Disabling"})
LIMITS = ("throttlingRateLimit", "throttlingBurstLimit")
TEMPLATE_LIMITS = ("ThrottlingRateLimit", "ThrottlingBurstLimit")


@dataclass(frozen=True)
class Intake:
    """How payments come in: whether retries do, and what the gateway tells, each method's own
    throttle, and the stage's.

    A throttle is "rate/burst"; "" where the method has none of its own.
    """

    retries: bool
    throttles: Mapping[str, str]
    stage: str = ""
    notifications: bool = True


def methods(environment: Environment) -> tuple[str, ...]:
    """Return those of METHODS that the stack has: one of an earlier release cancels nothing."""
    return tuple(
        method
        for method, function in METHODS.items()
        if function != CANCELLATION_FUNCTION or environment.has(function)
    )


def functions(environment: Environment) -> tuple[str, ...]:
    """Return what runs payments: after the longest of their timeouts, nothing that had begun when
    they were stopped is still running."""
    own = [GATEWAY_EVENTS_FUNCTION] if environment.has(GATEWAY_EVENTS_FUNCTION) else []
    return (*(METHODS[method] for method in methods(environment)), RETRY_FUNCTION, *own)


def everything(environment: Environment) -> frozenset[str]:
    """Return what `stopped` names when nothing comes in."""
    own = {NOTIFICATIONS} if environment.has(GATEWAY_EVENTS_FUNCTION) else set()
    return frozenset({*methods(environment), "retries", *own})


def wanted(environment: Environment) -> Intake:
    """Return how payments are to come in: as the deployed template says, not as it ever was."""
    resources = environment.stack.template().get("Resources", {})
    stage = resources.get(STAGE, {}).get("Properties", {})
    throttles = {
        (setting.get("ResourcePath"), setting.get("HttpMethod")): "/".join(
            _value(environment, setting.get(limit)) for limit in TEMPLATE_LIMITS
        )
        for setting in stage.get("MethodSettings", [])
    }
    source = resources.get(RETRY_EVENT_SOURCE, {}).get("Properties", {})
    return Intake(
        retries=_value(environment, source.get("Enabled", True)).lower() != "false",
        throttles={
            method: throttles.get((f"/~1{method}", "POST"), "") for method in methods(environment)
        },
        stage=throttles.get(("/*", "*"), ""),
    )


def current(environment: Environment) -> Intake:
    """Return how payments come in now."""
    stage = _stage(environment)
    settings = _settings(stage)
    with translated(RETRIES):
        retries = _retries(environment)
    return Intake(
        retries=retries not in SWITCHED_OFF,
        throttles={
            method: _throttle(settings.get(f"{method}/POST")) for method in methods(environment)
        },
        stage=_throttle(settings.get(EVERY_METHOD)),
        notifications=not _tells_later(environment, stage),
    )


def stopped(environment: Environment) -> list[str]:
    """Return what is stopped now, of METHODS, NOTIFICATIONS and "retries", whoever has stopped it.

    A method without settings of its own has those of the stage.
    """
    stage = _stage(environment)
    settings = _settings(stage)
    every = settings.get(EVERY_METHOD, {})
    found = [
        method
        for method in methods(environment)
        for own in [settings.get(f"{method}/POST", every)]
        if _is_zero(own)
    ]
    if _tells_later(environment, stage):
        found.append(NOTIFICATIONS)
    with translated(RETRIES):
        switched_off = _retries(environment) in SWITCHED_OFF
    return [*found, *(["retries"] if switched_off else [])]


def stop(environment: Environment, sleep: Callable[[float], None]) -> None:
    """Let no payment in; what has begun continues (see `drain`)."""
    settings = _settings(_stage(environment))
    every = settings.get(EVERY_METHOD, {})
    throttled = {"throttling/rateLimit": "0", "throttling/burstLimit": "0"}
    # A method's first settings of its own replace the stage's as a whole, so they state all.
    as_for_all = {
        "logging/loglevel": every.get("loggingLevel", "OFF"),
        "metrics/enabled": str(every.get("metricsEnabled", False)).lower(),
    }
    patches = [
        _replace(f"{_path(method)}/{path}", value)
        for method in methods(environment)
        for path, value in {
            **throttled,
            **({} if f"{method}/POST" in settings else as_for_all),
        }.items()
    ]
    if environment.has(GATEWAY_EVENTS_FUNCTION):
        patches.append(_replace(VARIABLE, "true"))
    _patch(environment, patches)
    _switch_retries(environment, on=False, sleep=sleep)


def let_in(environment: Environment, intake: Intake, sleep: Callable[[float], None]) -> None:
    """Let payments in as is wanted; a stage's own throttle is changed only if that is zero."""
    stage = _stage(environment)
    settings = _settings(stage)
    patches = []
    if intake.stage and _is_zero(settings.get(EVERY_METHOD, {})):
        patches += _throttled("/*/*", intake.stage)
    for method, throttle in intake.throttles.items():
        if throttle:
            patches += _throttled(_path(method), throttle)
        elif f"{method}/POST" in settings:
            patches.append({"op": "remove", "path": _path(method)})
    if intake.notifications and _tells_later(environment, stage):
        patches.append({"op": "remove", "path": VARIABLE})
    if patches:
        _patch(environment, patches)
    if intake.retries:
        _switch_retries(environment, on=True, sleep=sleep)


def seconds_to_end(environment: Environment) -> int:
    """Return how long a request that has begun may take: the longest timeout."""
    return max(int(environment.function(name)["Timeout"]) for name in functions(environment))


def drain(
    environment: Environment, seconds: int | None, sleep: Callable[[float], None], tell: Tell
) -> None:
    """Wait until the requests have ended that had begun when payments were stopped.

    Args:
        environment: whose requests.
        seconds: how long; None: the longest that one may take.
        sleep: waits.
        tell: is told every second how many are left.
    """
    if seconds is None:
        seconds = persistently(lambda: seconds_to_end(environment), sleep, tell)
    countdown(seconds, "requests that have begun may take another {} s", sleep, tell)


def _switch_retries(environment: Environment, *, on: bool, sleep: Callable[[float], None]) -> None:
    client, source = environment.client("lambda"), environment.resource(RETRY_EVENT_SOURCE)
    wanted = "Enabled" if on else "Disabled"

    def switch() -> str:
        state = _retries(environment)
        # Again, too: somebody else may have switched it back.
        if state != wanted and state in AT_REST:
            try:
                client.update_event_source_mapping(UUID=source, Enabled=on)
            except ClientError as error:
                # While it changes, it takes no other change (Lambda API,
                # UpdateEventSourceMapping), and that can be seen a little later.
                if code_of(error) != "ResourceInUseException":
                    raise
        return state

    for state in looks(RETRIES, switch, sleep):
        if state == wanted:
            return


def _value(environment: Environment, value: object) -> str:
    """Return a template's value, which may be that of a parameter."""
    if isinstance(value, Mapping) and set(value) == {"Ref"}:
        value = environment.state.parameters.get(value["Ref"], "")
    return str(value)


def _retries(environment: Environment) -> str:
    """Return the state of the event source mapping; failures are botocore's."""
    source = environment.resource(RETRY_EVENT_SOURCE)
    answer = environment.client("lambda").get_event_source_mapping(UUID=source)
    return str(answer["State"])


def _stage(environment: Environment) -> Mapping[str, Any]:
    with translated("stage of the API"):
        stage: Mapping[str, Any] = environment.client("apigateway").get_stage(
            restApiId=environment.resource(REST_API), stageName=STAGE_NAME
        )
    return stage


def _tells_later(environment: Environment, stage: Mapping[str, Any]) -> bool:
    """Whether the gateway is to tell later what it tells by itself."""
    is_set = STOPPED_VARIABLE in stage.get("variables", {})
    return is_set and environment.has(GATEWAY_EVENTS_FUNCTION)


def _settings(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stage's settings by method, as `validate/POST`."""
    return {
        key.replace("~1", "/").strip("/"): settings
        for key, settings in stage.get("methodSettings", {}).items()
    }


def _patch(environment: Environment, operations: list[dict[str, str]]) -> None:
    with translated("stage of the API"):
        environment.client("apigateway").update_stage(
            restApiId=environment.resource(REST_API),
            stageName=STAGE_NAME,
            patchOperations=operations,
        )


def _throttled(path: str, throttle: str) -> list[dict[str, str]]:
    return [
        _replace(f"{path}/throttling/{limit}", value)
        for limit, value in zip(("rateLimit", "burstLimit"), throttle.split("/"), strict=True)
    ]


def _replace(path: str, value: str) -> dict[str, str]:
    return {"op": "replace", "path": path, "value": value}


def _path(method: str) -> str:
    return f"/~1{method}/POST"


def _throttle(settings: Mapping[str, Any] | None) -> str:
    return "/".join(f"{settings[limit]:g}" for limit in LIMITS) if settings else ""


def _is_zero(settings: Mapping[str, Any]) -> bool:
    return 0 in [settings.get(limit) for limit in LIMITS]
