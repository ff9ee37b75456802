"""Log groups, with retention, made by the stack so that they go when it goes."""

from troposphere import Sub
from troposphere.logs import LogGroup

from payment_infra.config import StackConfig
from payment_infra.groups.retention import stateful
from payment_infra.names import LOG_RETENTION_DAYS
from payment_infra.naming import parameter


def build_log_group(config: StackConfig, title: str, name: Sub) -> LogGroup:
    """Build one log group; `name` is its physical name."""
    return LogGroup(
        title,
        **stateful(config),
        LogGroupName=name,
        RetentionInDays=parameter(LOG_RETENTION_DAYS),
    )
