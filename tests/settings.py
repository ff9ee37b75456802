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
    "endpoint_type": "regional",
    "endpoint_access_mode": "strict",
    "firewall": True,
    "client_certificate": True,
    "throttle_rate_limit": 5,
    "throttle_burst_limit": 6,
    "firewall_rate_limit": 700_000,
    "firewall_health_rate_limit": 30,
    "gateway": "handlers.shared.acme:Acme",
    "gateway_secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:acme-AbCdEf",
    "retain_data": True,
    "deletion_protection": True,
    "termination_protection": True,
    "runtime": "python3.12",
    "architecture": "x86_64",
    "versions": True,
    "snap_start": True,
    "validation_concurrency": 7,
    "processing_concurrency": 8,
    "retry_concurrency": 9,
    "health_concurrency": 10,
    "alarm_email": "ops@example.com",
    "latency_alarms": True,
    "concurrency_alarms": True,
    "log_retention_days": 30,
    "execution_log_level": "off",
    "platform_logs": "warn",
    "mask_logs": True,
    "manage_api_gateway_account": False,
    "permissions_boundary": "arn:aws:iam::123456789012:policy/boundary",
    "role_path": "/payments/",
    "role_prefix": "acme-",
    "suppressions": True,
    "tags": {"Team": "payments", "Cost": "7=8"},
}
