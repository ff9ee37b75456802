"""Published versions in memory: what `live` of each function names, and each version's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from payment_infra.names import LIVE, LIVE_ALIASES
from tests.stacks import Answer, FakeStack, Refused


@dataclass
class FakeVersions:
    """Every function is published twice. tables is version to table; None is the active one.

    named is what `live` names, weights what else it sends requests to, by function.
    """

    active: Callable[[], str]
    tables: dict[str, str | None] = field(default_factory=lambda: {"1": "old", "2": None})
    named: dict[str, str] = field(default_factory=lambda: dict.fromkeys(LIVE_ALIASES, "2"))
    weights: dict[str, dict[str, float]] = field(default_factory=dict)

    def give(self, stack: FakeStack) -> None:
        """Let a stack have the functions and their aliases."""
        names = {*LIVE_ALIASES, *LIVE_ALIASES.values()}
        stack.resources |= dict.fromkeys(names, "CREATE_COMPLETE")

    def answers(self) -> Mapping[str, Callable[[Answer], Answer]]:
        """Return what FakeAws is to answer with."""
        return {
            "lambda:GetAlias": self._alias,
            "lambda:GetFunctionConfiguration": self._configuration,
        }

    def _alias(self, params: Answer) -> Answer:
        assert params["Name"] == LIVE
        name = params["FunctionName"]
        routing = {"AdditionalVersionWeights": self.weights.get(name, {})}
        return {"Name": LIVE, "FunctionVersion": self.named[name], "RoutingConfig": routing}

    def _configuration(self, params: Answer) -> Answer:
        name = params["FunctionName"]
        version = params["Qualifier"]
        version = self.named[name] if version == LIVE else version
        if version not in self.tables:
            raise Refused("ResourceNotFoundException")
        table = self.tables[version] or self.active()
        return {
            "FunctionName": name,
            "Version": version,
            "Timeout": 29,
            "Environment": {"Variables": {"TRANSACTIONS_TABLE": table}},
        }
