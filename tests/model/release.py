"""The handlers of one release: today's, or an earlier one's from its zip in releases/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipimport import zipimporter

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayTimeout,
    GatewayUnavailable,
    NoCharge,
)
from tests.model.releases.build import package_name

if TYPE_CHECKING:
    import pytest

    from tests.model.gateway import RecordingGateway

# The handlers' modules: those of every release, and those of today's alone.
ENTRIES = ("validation", "processing", "retry", "health_monitor")
NEW_ENTRIES = ("cancellation", "lookup", "gateway_events")
RELEASES = Path(__file__).parent / "releases"
LAST_VERSION = "0.1.0"
# What was deployed from the main branch before the handlers knew gateways in two steps.
ONE_STEP_VERSION = "0.2.0.dev1"


@dataclass(frozen=True)
class Release:
    """A package of handlers, which knows nothing of another one's classes."""

    package: str

    @property
    def is_current(self) -> bool:
        return self.package == "handlers"

    def module(self, name: str) -> Any:
        """Return one of its modules, such as "processing" or "shared.money"."""
        return import_module(f"{self.package}.{name}")

    def edge(self, name: str) -> Any:
        """Return a module of the edges towards AWS, which 0.1.0 had beside the domain."""
        is_flat = self.package == package_name("0.1.0")
        return self.module(f"shared.{name}" if is_flat else f"shared.aws.{name}")

    def install(
        self,
        patch: pytest.MonkeyPatch,
        clients: dict[str, object],
        gateway: RecordingGateway,
        clock: Callable[[], object],
        journal: object,
    ) -> None:
        """Put these where its handlers look for AWS, the gateway, time, logs and metrics."""
        own = self.edge("clients")
        for name, client in clients.items():
            if hasattr(own, name):  # each release asks the services that it knows
                patch.setattr(own, name, lambda client=client: client)
        asked = gateway if self.is_current else Translated(gateway, self.module("shared.gateway"))
        patch.setattr(own, "gateway", lambda: asked)
        patch.setattr(self.edge("logs"), "logger", journal)
        patch.setattr(self.edge("metrics"), "_metrics", journal)
        for entry in (*ENTRIES, *(NEW_ENTRIES if self.is_current else ())):
            patch.setattr(self.module(entry), "utc_now", clock)


class Translated:
    """The gateway in the classes of another release, which has its own of the same names.

    Release 0.1.0 knows no NoCharge: its gateway classes say None.
    """

    def __init__(self, gateway: RecordingGateway, classes: Any) -> None:
        self.KEY_RETENTION = gateway.KEY_RETENTION
        self._gateway = gateway
        self._classes = classes

    def charge(self, transaction: Any, idempotency_key: str) -> object:
        return self._told(lambda: self._gateway.charge(transaction, idempotency_key))

    def find(self, idempotency_key: str) -> object:
        return self._told(lambda: self._gateway.find(idempotency_key))

    def _told(self, ask: Callable[[], object]) -> object:
        try:
            answer = ask()
        except (GatewayTimeout, GatewayUnavailable) as failure:
            raise getattr(self._classes, type(failure).__name__)(failure.code) from failure
        match answer:
            case Charged(reference):
                return self._classes.Charged(reference)
            case Declined(reason):
                return self._classes.Declined(reason)
            case NoCharge() if hasattr(self._classes, "NoCharge"):
                return self._classes.NoCharge()
        return None


CURRENT = Release("handlers")


@cache
def earlier_release(version: str) -> Release:
    """Return an earlier release, imported from its zip beside today's."""
    package = package_name(version)
    spec = zipimporter(str(RELEASES / f"{version}.zip")).find_spec(package)
    assert spec
    assert spec.loader
    sys.modules[package] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[package])
    return Release(package)


def last_release() -> Release:
    """Return the last release."""
    return earlier_release(LAST_VERSION)


def one_step_release() -> Release:
    """Return what was deployed before the handlers knew gateways in two steps."""
    return earlier_release(ONE_STEP_VERSION)
