"""What a gateway class has to have, looked at without making one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from payment_infra import gateway_probe
from payment_infra.artifacts import HANDLERS
from payment_infra.gateway_names import GATEWAY_NAMES
from tests.gateways import gateway

RETENTION = "has a KEY_RETENTION that is no timedelta above 0"
CHARGE = "has a method charge that cannot be called as charge(transaction, idempotency_key=...)"
FIND = "has a method find that cannot be called as find(idempotency_key)"
MAKE = "cannot be called with one argument, the secret's text or None"

Problem = Callable[[str], str | None]


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """Says what is wrong with the class of a source."""

    def problem(source: str) -> str | None:
        module = ModuleType("acme")
        monkeypatch.setitem(sys.modules, "acme", module)
        exec(compile(source, "acme.py", "exec", dont_inherit=True), vars(module))
        found = gateway_probe.examine("acme", "Acme")
        return None if found is None else found.text

    return problem


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({"charge": ""}, "has no method charge"),
        ({"charge": "charge = None"}, "has no method charge"),
        ({"charge": "charge: object"}, "has no method charge"),
        ({"charge": "def charge(self, transaction, key): pass"}, CHARGE),
        ({"charge": "def charge(self, idempotency_key): pass"}, CHARGE),
        ({"charge": "def charge(self, t, idempotency_key, /): pass"}, CHARGE),
        ({"charge": "def charge(self, t, idempotency_key, *, currency): pass"}, CHARGE),
        (
            {"charge": "async def charge(self, transaction, idempotency_key): pass"},
            "has a method charge that is async, and nobody awaits it",
        ),
        ({"find": ""}, "has no method find"),
        ({"find": "def find(self): pass"}, FIND),
        ({"find": "def find(self, *, idempotency_key): pass"}, FIND),
        ({"find": "def find(self, a, b): pass"}, FIND),
        ({"find": "@staticmethod\n    def find(self, key): pass"}, FIND),
        ({"retention": ""}, "has no KEY_RETENTION"),
        ({"retention": "KEY_RETENTION: timedelta"}, "has no KEY_RETENTION"),
        ({"retention": "KEY_RETENTION = 86400"}, RETENTION),
        ({"retention": "KEY_RETENTION = timedelta(0)"}, RETENTION),
        ({"retention": "KEY_RETENTION = -timedelta(hours=1)"}, RETENTION),
        ({"init": ""}, MAKE),
        ({"init": "def __init__(self): pass"}, MAKE),
        ({"init": "def __init__(self, secret, url): pass"}, MAKE),
        ({"init": "def __init__(self, *, secret): pass"}, MAKE),
        ({"find": "", "retention": ""}, "has no method find, has no KEY_RETENTION"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value.values()),
)
def test_what_a_class_lacks_is_told(members: dict[str, str], found: str, problem: Problem) -> None:
    assert problem(gateway(**members)) == f"Acme {found}"


def test_what_is_only_inherited_from_the_protocol_is_not_there(problem: Problem) -> None:
    head = "from handlers.shared.gateway import Gateway"
    derived = gateway(head, bases="Gateway", charge="", init="")
    assert problem(derived) == f"Acme has no method charge, {MAKE}"
    assert problem(gateway(head, bases="Gateway")) is None


def test_what_is_inherited_from_a_class_is_there(problem: Problem) -> None:
    source = gateway().replace("Acme", "Base")
    assert problem(f"{source}class Acme(Base): pass\n") is None


def test_an_abstract_class_is_told(problem: Problem) -> None:
    refund = "@abc.abstractmethod\n    def refund(self): pass"
    assert problem(gateway("import abc", "abc.ABC", more=refund)) == "Acme is abstract (refund)"


@pytest.mark.parametrize(
    "members",
    [
        {"charge": "def charge(self, payment, *, idempotency_key): pass"},
        {"charge": "def charge(self, *given, **named): pass"},
        {"charge": "def charge(self, t, idempotency_key, currency='EUR'): pass"},
        {"charge": "@staticmethod\n    def charge(transaction, idempotency_key): pass"},
        {"find": "@classmethod\n    def find(cls, key): pass"},
        {"find": "find = functools.partialmethod(lambda self, a, b: None, 1)"},
        {"find": "def find(self, key: Nowhere) -> Nowhere | None: pass"},
        {"init": "def __init__(self, secret=None, timeout=6): pass"},
        {"init": "def __new__(cls, secret): return object.__new__(cls)"},
    ],
    ids=lambda value: " ".join(value.values()),
)
def test_whatever_can_be_called_as_the_handlers_do_passes(
    members: dict[str, str], problem: Problem
) -> None:
    source = gateway("import functools", **members)
    assert problem(f"from __future__ import annotations\n{source}") is None


def test_a_dataclass_of_the_secret_passes(problem: Problem) -> None:
    source = gateway("import dataclasses\n@dataclasses.dataclass", init="secret: str")
    assert problem(source) is None


NOTIFYING = {
    "charge": "def prepare(self, transaction, idempotency_key): pass",
    "find": "def find(self, transaction): pass",
    "retention": "NEEDS = frozenset()",
    "confirm": "def confirm(self, payment_id, idempotency_key, return_url): pass",
    "fetch": "def fetch(self, payment_id): pass",
    "cancel": "def cancel(self, payment_id, idempotency_key): pass",
    "digits": "@staticmethod\n    def digits(currency): pass",
    "notification": "def notification(self, headers, body, now): pass",
}
NOTIFICATION = "has a method notification that"


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (NOTIFYING, None),
        (NOTIFYING | {"notification": ""}, "has no method notification"),
        (
            NOTIFYING | {"notification": "def notification(self, body): pass"},
            f"{NOTIFICATION} cannot be called as notification(headers, body, now)",
        ),
        (
            NOTIFYING | {"notification": "async def notification(self, headers, body, now): pass"},
            f"{NOTIFICATION} is async, and nobody awaits it",
        ),
        (
            {"notification": NOTIFYING["notification"]},
            "charges in one step, and gateway_events takes a gateway in two",
        ),
    ],
)
def test_a_gateway_that_is_to_notify_does_and_is_one_in_two_steps(
    members: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("acme")
    monkeypatch.setitem(sys.modules, "acme", module)
    exec(compile(gateway(**members), "acme.py", "exec", dont_inherit=True), vars(module))
    finding = gateway_probe.examine("acme", "Acme", notifies=True)
    assert (finding and finding.text) == (found and f"Acme {found}")
    # Who does not ask for it need not have it.
    assert gateway_probe.examine("acme", "Acme") is None


@pytest.mark.parametrize(
    ("listing", "found"),
    [
        ("def payments(self, since, until, cursor): pass", None),
        (
            "def payments(self, since): pass",
            "Acme has a method payments that cannot be called as payments(since, until, cursor)",
        ),
        ("payments = ()", None),  # which is no method, and none need be there
    ],
)
def test_a_gateway_that_lists_can_be_asked_for_a_page(
    listing: str, found: str | None, problem: Problem
) -> None:
    assert problem(gateway(**NOTIFYING, more=listing)) == found
    # One in one step is never asked.
    assert problem(gateway(more=listing)) is None


def test_the_class_is_not_made_and_nothing_of_it_is_called(problem: Problem) -> None:
    raises = "raise AssertionError('called')"
    source = gateway(
        init=f"def __init__(self, secret): {raises}",
        charge=f"def charge(self, transaction, idempotency_key): {raises}",
        find=f"def find(self, idempotency_key): {raises}",
    )
    assert problem(source) is None


@pytest.mark.parametrize("gateway", GATEWAY_NAMES.values())
def test_a_gateway_that_comes_along_has_all_that_is_asked_for(gateway: str) -> None:
    module, _, name = gateway.partition(":")
    assert gateway_probe.examine(module, name) is None


def test_the_handlers_call_a_gateway_as_the_class_is_tried() -> None:
    calls = {
        (node.func.attr, len(node.args), tuple(keyword.arg for keyword in node.keywords))
        for path in HANDLERS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value).endswith("gateway")
    }
    tried = (
        *(gateway_probe.CALLS, gateway_probe.TWO_STEP_CALLS, gateway_probe.NOTIFYING_CALLS),
        gateway_probe.LISTING_CALLS,
    )
    assert calls | {("digits", 1, ())} == {
        (name, len(given), named) for kind in tried for name, (given, named) in kind.items()
    }
