"""The alarms, all of which notify the topic and name the command to begin with."""

from dataclasses import dataclass

from troposphere import Sub
from troposphere.cloudwatch import Alarm, Metric, MetricDataQuery, MetricDimension, MetricStat
from troposphere.sns import Topic

from payment_infra.config import StackConfig
from payment_infra.groups.alarm_rules import Rule, rules_of
from payment_infra.groups.functions import Functions
from payment_infra.groups.queues import Queues
from payment_infra.naming import suffixed

PERIOD_SECONDS = 300
# No traffic is no trouble.
QUIET = {
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "TreatMissingData": "notBreaching",
}


@dataclass(frozen=True)
class Alarms:
    """Every alarm of the stack."""

    alarms: tuple[Alarm, ...]


def build_alarms(config: StackConfig, topic: Topic, queues: Queues, functions: Functions) -> Alarms:
    """Build an alarm for each rule."""
    rules = rules_of(config, topic, queues, functions)
    return Alarms(tuple(_build_alarm(rule, topic) for rule in rules))


def _build_alarm(rule: Rule, topic: Topic) -> Alarm:
    return Alarm(
        rule.title,
        AlarmName=suffixed(rule.name),
        AlarmDescription=f"{rule.description}. Run payment-infra {rule.command}",
        **(_share(rule) if rule.share_of else _measured(rule)),
        EvaluationPeriods=rule.periods,
        Threshold=rule.threshold,
        AlarmActions=[topic.ref()],
        **{**QUIET, **rule.properties},
        **({"Condition": rule.condition} if rule.condition else {}),
    )


def _measured(rule: Rule) -> dict[str, object]:
    """Return what an alarm measures that watches a metric as it is."""
    namespace, _, name = rule.metric.rpartition("/")
    percentile = rule.statistic.startswith("p")
    return {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": _dimensions(rule),
        "ExtendedStatistic" if percentile else "Statistic": rule.statistic,
        "Period": PERIOD_SECONDS,
    }


def _share(rule: Rule) -> dict[str, object]:
    """Return what an alarm measures that watches how much of a parameter's value is used."""
    namespace, _, name = rule.metric.rpartition("/")
    metric = Metric(Namespace=namespace, MetricName=name, Dimensions=_dimensions(rule))
    stat = MetricStat(Metric=metric, Period=PERIOD_SECONDS, Stat=rule.statistic)
    share = Sub(f"100 * used / ${{{rule.share_of}}}")
    return {
        "Metrics": [
            MetricDataQuery(Id="used", MetricStat=stat, ReturnData=False),
            MetricDataQuery(Id="percent", Expression=share, Label=name, ReturnData=True),
        ]
    }


def _dimensions(rule: Rule) -> list[MetricDimension]:
    return [MetricDimension(Name=k, Value=v) for k, v in rule.dimensions.items()]
