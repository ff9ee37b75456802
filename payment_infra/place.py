"""Where an environment is: whose credentials, which region and which stack a command uses.

None of it shapes the template, so none of it is a setting of the stack, and the stack records none
of it.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from payment_infra.rules import REGION_PATTERN, STACK_NAME_PATTERN, Rule, check_profile, matching


def _place(meaning: str, rule: Rule) -> Any:
    return field(default="", metadata={"help": meaning, "rule": rule, "names": {}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a flag, a variable PAYMENT_INFRA_* or the configuration file says of it.

    "" leaves profile and region to the AWS configuration (AWS_PROFILE and AWS_REGION included), and
    gives the stack its usual name. sources is field to the name of its source, for what was given,
    even if it is "".
    """

    profile: str = _place("Profile of the AWS configuration.", check_profile)
    region: str = _place(
        "AWS region.  [default: the AWS configuration's, else us-east-1]",
        matching(REGION_PATTERN, "the name of an AWS region, as eu-central-1"),
    )
    stack_name: str = _place(
        "Name of the stack.  [default: payment-infra-SUFFIX]",
        matching(STACK_NAME_PATTERN, "1 to 128 letters, digits and dashes, the first a letter"),
    )
    sources: Mapping[str, str] = field(default_factory=dict)


PLACE: Mapping[str, "Field[Any]"] = {f.name: f for f in fields(Place) if f.name != "sources"}


def entered_place(flags: Mapping[str, str | None]) -> Place:
    """Return the place that flags alone give."""
    given = {name: value for name in PLACE if (value := flags.get(name)) is not None}
    sources = {name: f"--{name.replace('_', '-')}" for name in given}
    return Place(**given, sources=sources)
