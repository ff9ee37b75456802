"""How payments come in, in memory: the API's stage, payment-retry's event source, the functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.stacks import Answer, Refused

# What a setting is called in a patch, in the stage, and what it is read by.
SETTINGS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "throttling/rateLimit": ("throttlingRateLimit", float),
    "throttling/burstLimit": ("throttlingBurstLimit", int),
    "logging/loglevel": ("loggingLevel", str),
    "metrics/enabled": ("metricsEnabled", lambda text: text == "true"),
}
# What the path of a stage's variable begins with.
VARIABLES = "/variables/"
# What a method has that has settings of its own, where they say nothing else.
DEFAULTS: Answer = {
    "throttlingRateLimit": 10000.0,
    "throttlingBurstLimit": 5000,
    "loggingLevel": "OFF",
    "metricsEnabled": False,
}
EVERY = {**DEFAULTS, "loggingLevel": "INFO", "metricsEnabled": True}
# What an event source comes to, once its change is over.
RESTS = {"Disabling": "Disabled", "Enabling": "Enabled", "Updating": "Enabled"}
VALIDATE, PROCESS = "~1validate/POST", "~1process/POST"


@dataclass
class FakeIntake:
    """The three of them. `changing` is how often a change of the event source is still seen.

    `idle` names the functions whose reserved concurrency is 0.
    """

    methods: dict[str, Answer] = field(default_factory=lambda: {"*/*": dict(EVERY)})
    state: str = "Enabled"
    variables: dict[str, str] = field(default_factory=dict)
    changing: int = 0
    timeout_seconds: int = 29
    idle: set[str] = field(default_factory=set)

    @property
    def takes_requests(self) -> bool:
        """Whether POST /process is answered."""
        return bool(self.methods.get(PROCESS, EVERY)["throttlingRateLimit"])

    @property
    def takes_retries(self) -> bool:
        """Whether messages may still be taken from the queue."""
        return self.state != "Disabled"

    def answers(self) -> Mapping[str, Callable[[Answer], Answer]]:
        """Return what FakeAws is to answer with."""
        return {
            "apigateway:GetStage": lambda _: {
                "methodSettings": {name: dict(one) for name, one in self.methods.items()},
                **({"variables": dict(self.variables)} if self.variables else {}),
            },
            "apigateway:UpdateStage": self._update_stage,
            "lambda:GetEventSourceMapping": lambda _: {"State": self._look()},
            "lambda:UpdateEventSourceMapping": self._update_event_source,
            "lambda:GetFunctionConcurrency": lambda params: (
                {"ReservedConcurrentExecutions": 0} if params["FunctionName"] in self.idle else {}
            ),
            "lambda:GetFunctionConfiguration": lambda _: {"Timeout": self.timeout_seconds},
        }

    def _update_stage(self, params: Answer) -> Answer:
        methods = {name: dict(one) for name, one in self.methods.items()}
        variables = dict(self.variables)
        for one in params["patchOperations"]:
            if one["path"].startswith(VARIABLES):
                variable = one["path"].removeprefix(VARIABLES)
                if one["op"] == "replace":
                    variables[variable] = one["value"]
                elif variables.pop(variable, None) is None:
                    raise Refused("NotFoundException", "Invalid stage variable")
                continue
            name, setting = one["path"].removeprefix("/").split("/POST")
            if one["op"] == "remove":
                if f"{name}/POST" not in methods:
                    raise Refused("NotFoundException", "Invalid method setting path")
                del methods[f"{name}/POST"]
            else:
                key, read = SETTINGS[setting.removeprefix("/")]
                methods.setdefault(f"{name}/POST", dict(DEFAULTS))[key] = read(one["value"])
        self.methods, self.variables = methods, variables
        return {}

    def _look(self) -> str:
        if self.changing:
            self.changing -= 1
        else:
            self.state = RESTS.get(self.state, self.state)
        return self.state

    def _update_event_source(self, params: Answer) -> Answer:
        if self.state not in {"Enabled", "Disabled"}:
            raise Refused("ResourceInUseException", f"The event source is {self.state}")
        wanted = "Enabled" if params["Enabled"] else "Disabled"
        if wanted != self.state:
            self.state = "Enabling" if params["Enabled"] else "Disabling"
            self.changing = 2
        return {"State": self.state}
