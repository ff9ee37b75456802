"""What API Gateway answers by itself has the shape of every other answer.

The throttle of /health is not shown here: the emulator does not decode the path of a method's
settings (/~1health).
"""

from concurrent.futures import ThreadPoolExecutor

from payment_infra.cloud.environment.smoke import Answer
from payment_infra.local.emulator import Emulator
from tests.e2e.conftest import Deploy

REQUESTS = 30


def test_a_throttled_request_is_told_so(aws: Emulator, deploy: Deploy) -> None:
    deployed = deploy(
        aws,
        "throttled",
        authorization="none",
        throttle_rate_limit="1",
        throttle_burst_limit="1",
    )

    def process(_: int) -> Answer:
        return deployed.api().call("POST", "process")

    with ThreadPoolExecutor(REQUESTS) as pool:
        answers = list(pool.map(process, range(REQUESTS)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.body["error"] for answer in refused} == {"Too many requests"}


def test_an_unknown_path_is_refused_in_the_same_shape(aws: Emulator, deploy: Deploy) -> None:
    answer = deploy(aws, "unknown", authorization="none").api().call("GET", "nowhere")
    assert answer.status in {403, 404}
    assert answer.body.keys() == {"error", "message"}
