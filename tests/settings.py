"""A value of every setting that is not its default, for tests of all settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# In the order of the fields.
OTHER: Mapping[str, Any] = {
    "suffix": "dev",
    "bucket": "zips",
    "authorization": "none",
    "payment_access": "account",
    "endpoint_type": "private",
    "endpoint_access_mode": "strict",
    "allowed_accounts": ("210987654321", "111122223333"),
    "allowed_vpc_endpoints": ("vpce-0123456789abcdef0",),
    "vpc_endpoints": ("vpce-0123456789abcdef0",),
    "allowed_cidrs": ("203.0.113.0/24",),
    "domain_name": "pay.example.com",
    "domain_certificate": "arn:aws:acm:us-east-1:123456789012:certificate/0123-abcd",
    "domain_truststore": "s3://trust/ca.pem",
    "execute_api_endpoint": False,
    "health_access": "closed",
    "firewall": True,
    "client_certificate": True,
    "throttle_rate_limit": 5,
    "throttle_burst_limit": 6,
    "gateway_events_rate_limit": 7,
    "firewall_rate_limit": 700_000,
    "firewall_health_rate_limit": 30,
    "gateway": "acme.py:Acme",
    "gateway_requirements": "acme-requirements.txt",
    "gateway_secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:acme-AbCdEf",
    "gateway_events": True,
    "retain_data": True,
    "recovery_days": 7,
    "customer_key": True,
    "deletion_protection": True,
    "replacement_protection": True,
    "termination_protection": True,
    "backup": True,
    "backup_days": 90,
    "backup_lock_days": 30,
    "backup_copy_vault": "arn:aws:backup:eu-west-1:123456789012:backup-vault:payments",
    "runtime": "python3.12",
    "architecture": "x86_64",
    "versions": True,
    "snap_start": True,
    "subnets": ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
    "security_groups": ("sg-0123456789abcdef0",),
    "failed_runs": True,
    "canary_percent": 25,
    "canary_minutes": 30,
    "validation_concurrency": 7,
    "processing_concurrency": 8,
    "lookup_concurrency": 12,
    "cancellation_concurrency": 13,
    "gateway_events_concurrency": 14,
    "retry_concurrency": 9,
    "health_concurrency": 10,
    "alarm_email": "ops@example.com",
    "latency_alarms": True,
    "concurrency_alarms": True,
    "log_retention_days": 30,
    "execution_log_level": "off",
    "platform_logs": "warn",
    "mask_logs": True,
    "trace_percent": 50,
    "sampling_rule_name": "payments",
    "sampling_priority": 10,
    "manage_api_gateway_account": False,
    "permissions_boundary": "arn:aws:iam::123456789012:policy/boundary",
    "role_path": "/payments/",
    "role_prefix": "acme-",
    "suppressions": True,
    "environment_tag": "env",
    "tags": {"Team": "payments", "Cost": "7=8"},
}
_PRIVATE = {name: OTHER[name] for name in ("endpoint_type", "allowed_vpc_endpoints")}
_NAMED = {name: OTHER[name] for name in ("domain_name", "domain_certificate")}
# What a setting needs besides, where its value above does not fit to the others' defaults.
WITH: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("endpoint_type", "allowed_vpc_endpoints", "vpc_endpoints"), _PRIVATE),
    **dict.fromkeys(("domain_name", "domain_certificate", "execute_api_endpoint"), _NAMED),
    "domain_truststore": {
        **_NAMED,
        "endpoint_type": "regional",
        "execute_api_endpoint": OTHER["execute_api_endpoint"],
    },
    "gateway_events": {"gateway": OTHER["gateway"]},
    "subnets": {"security_groups": OTHER["security_groups"]},
    "security_groups": {"subnets": OTHER["subnets"]},
}
# Those whose value does not fit to what the others have above.
APART = (
    *("allowed_accounts", "domain_name", "domain_certificate", "domain_truststore"),
    "execute_api_endpoint",
)
