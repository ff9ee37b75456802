"""What a stack costs: the prices, what a payment uses, and the sums of both.

The tests of the handlers hold `MEASURED` to what the handlers do; docs/cost.md has the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from handlers.shared.aws import metrics
from payment_infra.config import FIELDS, PRESETS, StackConfig
from tests.unit.template import load, of_type

MONTH_DAYS = 30
RUNS = MONTH_DAYS * 24 * 12
MILLION = 1_000_000
GIGABYTE = 10**9
# What the documents reckon a month with, besides a million.
MONTHLY_PAYMENTS = 500_000


@dataclass(frozen=True)
class Price:
    """What one unit costs, in USD, and the page that says so."""

    usd: float
    unit: str
    source: str

    def __str__(self) -> str:
        return f"{self.usd:.10f}".rstrip("0").ljust(4, "0") + f" per {self.unit}"


# List prices of us-east-1, without free tiers, as these pages had them in November 2026.
PRICES_OF = "November 2026"
PRICES: Mapping[str, Price] = {
    "api": Price(3.50, "million requests", "Amazon API Gateway pricing, REST APIs"),
    "lambda": Price(0.20, "million requests", "AWS Lambda pricing"),
    "arm64": Price(0.0000133334, "GB-second", "AWS Lambda pricing, Arm"),
    "x86_64": Price(0.0000166667, "GB-second", "AWS Lambda pricing, x86"),
    "writes": Price(0.625, "million units", "Amazon DynamoDB pricing, on-demand"),
    "reads": Price(0.125, "million units", "Amazon DynamoDB pricing, on-demand"),
    "rows": Price(0.25 + 0.20, "GB a month", "Amazon DynamoDB pricing, storage and PITR"),
    "sqs": Price(0.40, "million requests", "Amazon SQS pricing, standard queues"),
    "logs": Price(0.50, "GB", "Amazon CloudWatch pricing, logs collected"),
    "traces": Price(5.00, "million traces", "AWS X-Ray pricing, traces recorded"),
    "alarm": Price(0.10, "metric", "Amazon CloudWatch pricing, standard alarms"),
    "metric": Price(0.30, "metric", "Amazon CloudWatch pricing, custom metrics"),
    "dashboard": Price(3.00, "dashboard", "Amazon CloudWatch pricing, dashboards"),
    "asked": Price(0.01, "1000 metrics", "Amazon CloudWatch pricing, GetMetricData"),
    "web_acl": Price(5.00, "web ACL", "AWS WAF pricing"),
    "rule": Price(1.00, "rule", "AWS WAF pricing, managed groups included"),
    "filtered": Price(0.60, "million requests", "AWS WAF pricing"),
}


@dataclass(frozen=True)
class Usage:
    """What one payment uses: two requests, validate and process.

    Bytes of logs are of both requests, with what CloudWatch Logs adds to each event.
    """

    write_units: float
    read_units: float
    row_bytes: int
    handler_log_bytes: int
    access_log_bytes: int
    sweeps: bool

    @property
    def scanned_units(self) -> float:
        """What the sweep of all rows once a day reads of this one in a month: eventually
        consistent, half a unit for 4 KB of rows together."""
        return MONTH_DAYS * self.row_bytes / 4096 * 0.5 if self.sweeps else 0


# CloudWatch Logs API, PutLogEvents: 26 bytes are added to each event.
EVENT_BYTES = 26
# The handlers' own, as the tests measure it.
MEASURED = Usage(
    write_units=5,
    read_units=0,
    row_bytes=720,
    handler_log_bytes=1650,
    access_log_bytes=950,
    sweeps=True,
)
# The reference puts an item, gets it (eventually consistent: half a unit) and updates it. It has
# no access log, and its handlers print only what fails.
REFERENCE = Usage(
    write_units=2,
    read_units=0.5,
    row_bytes=400,
    handler_log_bytes=0,
    access_log_bytes=0,
    sweeps=False,
)
# What the scheduled run asks for, as the tests measure it.
RUN_METRICS = 10
RUN_QUERIES = 54
RUN_OWN_METRICS = 6
RUN_LOG_BYTES = 3_800

# What is assumed, since nothing here writes it: of each request, Lambda's START, END and REPORT;
# API Gateway's execution log at INFO, some 14 lines; and with data tracing (the reference's) the
# bodies and headers besides.
PLATFORM_LOG_BYTES = {"info": 400, "warn": 0}
EXECUTION_LOG_BYTES = {"off": 0, "error": 0, "info": 3_100, "traced": 5_600}
# And how long the functions run: validation with 256 MB, processing with 512 MB.
VALIDATION_SECONDS, PROCESSING_SECONDS, RUN_SECONDS = 0.05, 0.1, 1.0
GB_SECONDS = VALIDATION_SECONDS * 0.25 + PROCESSING_SECONDS * 0.5
HEALTH_SECONDS = 0.02
# Who asks for the health, to how many seconds pass between two requests; the stage's throttle of
# that method is ten a second.
PROBES = {"A probe every 10 s": 10, "A flood at the throttle, 10 a second": 0.1}
# The settings of production that the tables reckon with.
RECKONED = {
    *("firewall", "execution_log_level", "platform_logs", "trace_percent"),
    *("latency_alarms", "concurrency_alarms"),
}
# X-Ray's default rule records the first request of each second: nearly all, where they are spread.
DEFAULT_SAMPLED = 1.0
# Lambda polls an empty queue with five pollers, each of which waits 20 seconds.
POLLS = 5 * 3 * 60 * 24 * MONTH_DAYS
# The handlers' own metrics, each a string; a metric that is never put costs nothing, and at the
# simulated gateway no payment is pending.
NONE_PENDING = {"PENDING", "OVERDUE", "UNANSWERED"}
OWN_METRICS = sum(
    isinstance(value, str) and name.isupper() and name not in {"NAMESPACE", *NONE_PENDING}
    for name, value in vars(metrics).items()
)
# API Gateway's metrics of a method: Count, Latency, IntegrationLatency, 4XXError and 5XXError.
METHOD_METRICS = 5


@dataclass(frozen=True)
class System:
    """What decides the cost of a system."""

    usage: Usage
    architecture: str
    execution_log_level: str
    platform_logs: str
    traced: float


@dataclass(frozen=True)
class Line:
    """What a quantity of something costs."""

    item: str
    quantity: float
    price: Price

    @property
    def usd(self) -> float:
        return self.quantity * self.price.usd


def config(preset: str) -> StackConfig:
    settings: Mapping[str, Any] = PRESETS[preset]
    return StackConfig(preset=preset, **settings)


def system(preset: str) -> System:
    """Return what a preset's stack is."""
    settings = config(preset)
    percent = settings.trace_percent
    return System(
        usage=MEASURED,
        architecture=settings.architecture,
        execution_log_level=settings.execution_log_level,
        platform_logs=settings.platform_logs,
        traced=DEFAULT_SAMPLED if percent < 0 else percent / 100,
    )


REFERENCE_SYSTEM = System(
    usage=REFERENCE,
    architecture="x86_64",
    execution_log_level="traced",
    platform_logs="info",
    # It traces nothing.
    traced=0,
)
SYSTEMS = {"reference": REFERENCE_SYSTEM} | {preset: system(preset) for preset in PRESETS}


def per_million(one: System) -> list[Line]:
    """Return what a million payments cost, two million requests; no fixed cost."""
    usage = one.usage
    own = {
        "Logs of the handlers, and their metrics": usage.handler_log_bytes,
        "Access log": usage.access_log_bytes,
        "Lambda's own log lines": 2 * PLATFORM_LOG_BYTES[one.platform_logs],
        "Execution log": 2 * EXECUTION_LOG_BYTES[one.execution_log_level],
    }
    return [
        Line("API Gateway requests", 2, PRICES["api"]),
        Line("Lambda requests", 2, PRICES["lambda"]),
        Line("Lambda duration", GB_SECONDS * MILLION, PRICES[one.architecture]),
        Line("DynamoDB writes", usage.write_units, PRICES["writes"]),
        Line("DynamoDB reads", usage.read_units, PRICES["reads"]),
        Line("Rows, all read once a day", usage.scanned_units, PRICES["reads"]),
        Line("Rows, kept a month", usage.row_bytes * MILLION / GIGABYTE, PRICES["rows"]),
        *(Line(item, size * MILLION / GIGABYTE, PRICES["logs"]) for item, size in own.items()),
        Line("X-Ray traces", 2 * one.traced, PRICES["traces"]),
    ]


def fixed(preset: str) -> list[Line]:
    """Return what a month costs with no payment, but for the settings of their own below."""
    template = load(**PRESETS[preset])
    one = system(preset)
    run_logs = PLATFORM_LOG_BYTES[one.platform_logs] + RUN_LOG_BYTES
    return [
        Line("Metrics that alarms watch", _watched(template), PRICES["alarm"]),
        Line("Metrics of the functions", OWN_METRICS, PRICES["metric"]),
        Line("Metrics of two methods of the API", 2 * METHOD_METRICS, PRICES["metric"]),
        Line("Dashboard", 1, PRICES["dashboard"]),
        Line("Metrics that the scheduled run reads", RUNS * RUN_METRICS / 1000, PRICES["asked"]),
        Line("Scheduled run, requests", RUNS / MILLION, PRICES["lambda"]),
        Line("Scheduled run, duration", RUNS * RUN_SECONDS * 0.25, PRICES[one.architecture]),
        Line("Scheduled run, index", RUNS * RUN_QUERIES * 0.5 / MILLION, PRICES["reads"]),
        Line("Scheduled run, logs", RUNS * run_logs / GIGABYTE, PRICES["logs"]),
        Line("Scheduled run, traces", RUNS / MILLION, PRICES["traces"]),
        Line("SQS, polled by Lambda while empty", POLLS / MILLION, PRICES["sqs"]),
    ]


def _watched(template: Any) -> int:
    """Return how many metrics the alarms watch: one each, but for those on an expression."""
    alarms = of_type(template, "AWS::CloudWatch::Alarm").values()
    return sum(
        sum("MetricStat" in query for query in one["Properties"].get("Metrics", [])) or 1
        for one in alarms
    )


def firewall() -> tuple[list[Line], list[Line]]:
    """Return what the firewall costs: a month, and for a million payments."""
    template = load(**PRESETS["production"])
    [acl] = of_type(template, "AWS::WAFv2::WebACL").values()
    month = [
        Line("Firewall", 1, PRICES["web_acl"]),
        Line("Its rules", len(acl["Properties"]["Rules"]), PRICES["rule"]),
    ]
    return month, [Line("Requests through the firewall", 2, PRICES["filtered"])]


def total(lines: list[Line]) -> float:
    return sum(line.usd for line in lines)


# Tables of docs/cost.md: heading to the rows below it.


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    million = {name: per_million(one) for name, one in SYSTEMS.items()}
    yield "## A million payments", _table(million)
    months = {preset: fixed(preset) for preset in PRESETS}
    share = MONTHLY_PAYMENTS / MILLION
    paid = [total(months[preset]) + share * total(million[preset]) for preset in PRESETS]
    # A metric costs only in the hours in which something is counted.
    uncounted = (OWN_METRICS - RUN_OWN_METRICS + 2 * METHOD_METRICS) * PRICES["metric"].usd
    yield (
        "## A month",
        [
            *_table(months),
            _sums(f"With {MONTHLY_PAYMENTS:,} payments", paid),
            _sums("With none", [total(lines) - uncounted for lines in months.values()]),
        ],
    )
    each_month, each_million = firewall()
    yield (
        "## The firewall",
        [
            *([line.item, str(line.price), f"{line.usd:.2f} a month"] for line in each_month),
            *(
                [line.item, str(line.price), f"{line.usd:.2f} for a million payments"]
                for line in each_million
            ),
        ],
    )
    yield (
        "## What else is on in production",
        [
            [f"`{name}`", text]
            for name in FIELDS
            if name in PRESETS["production"] and name not in RECKONED
            if (text := FIELDS[name].metadata["costs"])
        ],
    )
    yield "## Who asks for the health", [_asking(*probe) for probe in PROBES.items()]


def _asking(name: str, every_seconds: float) -> list[str]:
    """Return the row of who asks for the health all month, once in so many seconds."""
    requests = MONTH_DAYS * 24 * 3600 / every_seconds
    sums = []
    for preset in PRESETS:
        one = system(preset)
        size = (one.usage.handler_log_bytes + one.usage.access_log_bytes) / 2
        size += PLATFORM_LOG_BYTES[one.platform_logs]
        size += EXECUTION_LOG_BYTES[one.execution_log_level]
        percent = config(preset).trace_percent
        # X-Ray's default rule: one of each second, and 5 percent of the others.
        a_second = 1 / every_seconds
        default = min(a_second, 1 + 0.05 * max(a_second - 1, 0)) / a_second
        lines = [
            Line("API Gateway", requests / MILLION, PRICES["api"]),
            Line("Lambda", requests / MILLION, PRICES["lambda"]),
            Line("Lambda", requests * HEALTH_SECONDS * 0.25, PRICES[one.architecture]),
            Line("Logs", requests * size / GIGABYTE, PRICES["logs"]),
            Line(
                "Traces",
                requests * (default if percent < 0 else percent / 100) / MILLION,
                PRICES["traces"],
            ),
        ]
        sums.append(f"{total(lines):.2f}")
    return [name, f"{requests:,.0f}", *sums]


def _table(columns: Mapping[str, list[Line]]) -> list[list[str]]:
    """Return a row for each item: its price, and what it costs in each column."""
    rows = []
    for lines in zip(*columns.values(), strict=True):
        prices = list(dict.fromkeys(str(line.price) for line in lines))
        rows.append([lines[0].item, " or ".join(prices), *(f"{line.usd:.2f}" for line in lines)])
    return [*rows, _sums("Total", [total(lines) for lines in columns.values()])]


def _sums(name: str, values: list[float]) -> list[str]:
    return [f"**{name}**", "", *(f"**{value:.2f}**" for value in values)]
