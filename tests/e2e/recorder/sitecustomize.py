"""Writes each AWS call of a function's process into a file; Python imports it as it starts.

A function whose environment has this folder in PYTHONPATH appends a line of JSON for each call to
the file that RECORDED_CALLS names: function, service, operation and parameters.
"""

import json
import os
from typing import Any

from botocore.client import BaseClient

_call = BaseClient._make_api_call  # type: ignore[attr-defined]


def _recorded(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
    line = {
        "function": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
        "service": client.meta.service_model.service_name,
        "operation": operation,
        "parameters": parameters,
    }
    with open(os.environ["RECORDED_CALLS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line, default=str) + "\n")
    return _call(client, operation, parameters)


BaseClient._make_api_call = _recorded  # type: ignore[attr-defined]
