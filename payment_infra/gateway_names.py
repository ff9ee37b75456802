"""What a payment gateway is called: by settings, by people, and by the functions' variable."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

SIMULATED_GATEWAY = "handlers.shared.gateway:SimulatedGateway"
SCRIPTED_GATEWAY = "handlers.shared.scripted:ScriptedGateway"
STRIPE_GATEWAY = "handlers.shared.stripe:StripeGateway"
# What a person may call a gateway instead of its class: those that come with payment-infra.
GATEWAY_NAMES = {
    "simulated": SIMULATED_GATEWAY,
    "scripted": SCRIPTED_GATEWAY,
    "stripe": STRIPE_GATEWAY,
}


def gateway_name(gateway: str) -> str:
    """Return what a person calls a gateway class: its name, or the class itself."""
    return next((name for name, path in GATEWAY_NAMES.items() if path == gateway), gateway)


def moves_money(gateway: str) -> bool:
    """Whether money may move at a gateway class."""
    return gateway not in {SIMULATED_GATEWAY, SCRIPTED_GATEWAY}


def comes_along(gateway: str) -> bool:
    """Whether a gateway class comes with payment-infra: it is tested, and requires nothing."""
    return gateway in GATEWAY_NAMES.values()


def needs_secret(gateway: str) -> bool:
    """Whether a gateway class is of no use without a secret, as far as that is known."""
    return gateway == STRIPE_GATEWAY


def needs_method(gateway: str) -> bool:
    """Whether a gateway class charges none but payment methods that it knows."""
    return gateway == STRIPE_GATEWAY


def is_own_gateway(gateway: str) -> bool:
    """Whether a gateway is a class of a user's own file, FILE.py:CLASS."""
    return gateway.rpartition(":")[0].endswith(".py")


def gateway_variable(gateway: str) -> str:
    """Return a gateway as the functions are told of it: module and class.

    A file of one's own is a module at the root of what they have.
    """
    return without_folder(gateway).replace(".py:", ":") if is_own_gateway(gateway) else gateway


def gateway_of_variable(variable: str) -> str:
    """Return the gateway that `gateway_variable` has returned, but the folder of its file."""
    own = re.fullmatch(r"(?a)\w+:\w+", variable)
    return variable.replace(":", ".py:") if own else variable


def without_folder(path: str) -> str:
    """Return the last part of a path: where a file is on this machine is nobody else's business."""
    return re.split(r"[/\\]", path)[-1]


class Gateway(NamedTuple):
    """Where payments are charged: the class, and the ARN of its secret, "" without one."""

    gateway: str
    secret: str

    @classmethod
    def of(cls, variables: Mapping[str, Any]) -> "Gateway":
        """Return where a function with these environment variables charges."""
        gateway = gateway_of_variable(str(variables.get("GATEWAY", SIMULATED_GATEWAY)))
        return cls(gateway, str(variables.get("GATEWAY_SECRET_ARN", "")))
