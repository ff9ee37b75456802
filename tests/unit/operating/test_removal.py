from __future__ import annotations

from typing import TYPE_CHECKING, Any

from payment_infra.cloud.destroying.bucket_removal import Contents, remove
from payment_infra.cloud.destroying.destruction import Destruction, delete_late_log_groups
from payment_infra.cloud.environment.callers import Callers
from payment_infra.cloud.events import Waiting
from payment_infra.record import Record

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from tests.aws import FakeAws


def test_every_version_and_marker_goes_past_the_first_page_before_the_bucket(aws: FakeAws) -> None:
    left = [("Versions", number) for number in range(2300)]
    left += [("DeleteMarkers", number) for number in range(200)]

    def versions(params: dict[str, Any]) -> dict[str, Any]:
        after = int(params.get("KeyMarker", "-1"))
        page = [one for one in left if one[1] > after and one[1] <= after + 1000]
        last = max((number for _, number in page), default=after)
        page_of: dict[str, Any] = {"IsTruncated": any(number > last for _, number in left)}
        if page_of["IsTruncated"]:
            page_of |= {"NextKeyMarker": str(last), "NextVersionIdMarker": "v"}
        for kind, number in page:
            page_of.setdefault(kind, []).append({"Key": str(number), "VersionId": kind})
        return page_of

    def delete(params: dict[str, Any]) -> dict[str, Any]:
        objects = params["Delete"]["Objects"]
        assert 1 <= len(objects) <= 1000
        for one in objects:
            left.remove((one["VersionId"], int(one["Key"])))
        return {}

    def delete_bucket(_: object) -> dict[str, Any]:
        assert not left
        return {}

    aws.answers |= {
        "s3:ListObjectVersions": versions,
        "s3:DeleteObjects": delete,
        "s3:DeleteBucket": delete_bucket,
    }
    told: list[object] = []
    remove(aws.session(), Contents("artifacts", 2500, 0), told.append)
    assert told[-1] == Waiting("2500 of 2500 versions are deleted")
    assert len(aws.called("s3:DeleteBucket")) == 1


def test_a_log_group_that_came_again_is_found_past_the_first_page_and_no_other_deleted(
    aws: FakeAws, environment: Environment
) -> None:
    names = [f"/aws/lambda/dev-{number:03}" for number in range(120)] + ["/aws/lambda/dev"]

    def groups(params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("nextToken", "0"))
        more = {"nextToken": str(start + 50)} if start + 50 < len(names) else {}
        return {"logGroups": [{"logGroupName": one} for one in names[start : start + 50]], **more}

    aws.answers |= {"logs:DescribeLogGroups": groups, "logs:DeleteLogGroup": {}}
    found = Destruction(
        stack="s",
        region="r",
        goes={},
        table="",
        items=0,
        messages={},
        protected_by=(),
        record=Record(),
        callers=Callers(),
        kept=(),
        log_groups=("/aws/lambda/dev", "/aws/lambda/gone"),
    )
    assert delete_late_log_groups(environment, found) == ["/aws/lambda/dev"]
    assert aws.called("logs:DeleteLogGroup") == [{"logGroupName": "/aws/lambda/dev"}]
