"""Where an environment's API answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from payment_infra.names import API_OUTPUT, REST_API, STAGE_NAME


def reachable(
    outputs: Mapping[str, str],
    endpoint_url: str | None,
    physical_ids: Callable[[], Mapping[str, str]],
) -> Mapping[str, str]:
    """Return a stack's outputs, with the address at which the API answers.

    Where an emulator stands for AWS, that is its place there: nothing answers at the output's name.

    Args:
        outputs: as the stack has them; one that is no environment's has no API, and is left so.
        endpoint_url: the emulator that stands for AWS, if any.
        physical_ids: returns logical id to physical id of the stack's resources; asked for the
            API's, by which an emulator has it.
    """
    if endpoint_url is None or API_OUTPUT not in outputs:
        return outputs
    if not (api_id := physical_ids().get(REST_API)):
        return outputs
    place = f"{endpoint_url.rstrip('/')}/_aws/execute-api/{api_id}/{STAGE_NAME}/"
    return {**outputs, API_OUTPUT: place}
