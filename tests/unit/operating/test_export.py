from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.operating import export
from payment_infra.cloud.operating.export import Since, pages, save
from payment_infra.cloud.operating.transactions import plain
from payment_infra.errors import AwsError, PaymentInfraError, UsageError
from payment_infra.files import move_private
from tests.stacks import Refused
from tests.tables import FakeTables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.aws import FakeAws

TABLE = "transactions-dev"
NAMES = [f"t-{number:03}" for number in range(200)]
SINCE = "2026-11-24T12:00:00.000000+00:00"


@pytest.fixture
def client(aws: FakeAws) -> DynamoDBClient:
    tables = FakeTables(rows_per_page=7)
    table = tables.add(TABLE)
    for number, name in enumerate(NAMES):
        # Every page but those of the last rows holds older ones only.
        text = SINCE if number >= 150 else "2026-11-23T12:00:00.000000+00:00"
        row = {"transaction_id": {"S": name}, "updated_at": {"S": text}}
        table.write(tables.now, name, row)
    aws.answers |= tables.answers()
    client: DynamoDBClient = aws.session().client("dynamodb")
    return client


def exported(text: str) -> list[str]:
    return [json.loads(line)["transaction_id"] for line in text.splitlines()]


def test_every_page_is_read_and_each_payment_once(aws: FakeAws, client: DynamoDBClient) -> None:
    found = list(pages(client, TABLE, None))
    assert exported("".join(one.lines for one in found)) == NAMES
    assert len(found) == len(aws.called("dynamodb:Scan")) == 29
    assert [one.next_key is None for one in found] == [False] * 28 + [True]


def test_pages_without_a_row_that_is_asked_for_do_not_end_it(client: DynamoDBClient) -> None:
    found = list(pages(client, TABLE, SINCE))
    assert found[0].rows == 0
    assert exported("".join(one.lines for one in found)) == NAMES[150:]


def test_what_lets_anybody_pay_or_act_for_the_customer_is_not_exported(
    aws: FakeAws, client: DynamoDBClient
) -> None:
    texts = {
        "transaction_id": "t-1",
        "status": "pending",
        "reference": "order 1",
        "payment_method": "canary-token",
        "next_action": "https://bank.example/canary",
    }
    aws.answers["dynamodb:Scan"] = {
        "Items": [{name: {"S": text} for name, text in texts.items()}],
        "Count": 1,
    }
    [page] = pages(client, TABLE, None)
    assert json.loads(page.lines) == {
        name: texts[name] for name in ("transaction_id", "status", "reference")
    }


def test_an_export_that_fails_between_two_pages_goes_on_after_the_last_one(
    aws: FakeAws, client: DynamoDBClient, tmp_path: Path
) -> None:
    file, counts = tmp_path / "all.jsonl", list[int]()

    def count(rows: int) -> None:
        counts.append(rows)
        if rows == 70:
            aws.errors["dynamodb:Scan"] = Refused("ExpiredTokenException")

    with pytest.raises(AwsError, match="expired"):
        save(client, TABLE, Since(), file, count)
    assert not file.exists()
    aws.errors.clear()
    calls = len(aws.called("dynamodb:Scan"))
    assert save(client, TABLE, Since(), file, counts.append) == 200
    assert aws.called("dynamodb:Scan")[calls]["ExclusiveStartKey"] == {
        "transaction_id": {"S": NAMES[69]}
    }
    assert exported(file.read_text()) == NAMES
    assert counts == sorted(set(counts))


def test_what_a_foreign_row_holds_is_json_and_whole() -> None:
    item = {
        "text": {"S": "\ud800"},
        "whole": {"N": "-12"},
        "part": {"N": "1.10"},
        "bytes": {"B": b"\xff"},
        "numbers": {"NS": ["2", "10"]},
        "names": {"SS": ["b", "a"]},
        "all": {"BS": [b"\xff"]},
        "inner": {"M": {"list": {"L": [{"BOOL": True}, {"NULL": True}]}}},
    }
    assert json.loads(json.dumps(plain(item))) == {
        "text": "\ud800",
        "whole": -12,
        "part": "1.10",
        "bytes": "/w==",
        "numbers": [10, 2],
        "names": ["a", "b"],
        "all": ["/w=="],
        "inner": {"list": [True, None]},
    }


@pytest.mark.parametrize("number", [0, errno.EXDEV, errno.EBUSY])
def test_an_export_that_replaces_a_file_keeps_the_link_to_it(
    number: int, client: DynamoDBClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, link = tmp_path / "there.jsonl", tmp_path / "link.jsonl"
    target.write_text("old")
    link.symlink_to(target)
    if number:
        refuse_renaming_part(number, monkeypatch)
    save(client, TABLE, Since(), link, lambda _: None, replace=True)
    assert link.is_symlink()
    assert exported(target.read_text()) == NAMES
    assert sorted(tmp_path.iterdir()) == [link, target]


def refuse_renaming_part(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            raise OSError(number, os.strerror(number))
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_nothing_is_read_for_a_file_that_cannot_be_written(
    aws: FakeAws, client: DynamoDBClient, tmp_path: Path
) -> None:
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path in (pipe, loop, tmp_path / "missing" / "file"):
        with pytest.raises(UsageError, match=f"^{path}: ") as refused:
            save(client, TABLE, Since(), path, lambda _: None, replace=True)
        assert "continues" not in str(refused.value)
    assert aws.called("dynamodb:Scan") == []
    assert set(tmp_path.iterdir()) == {pipe, loop}
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_part_that_somebody_else_has_made_is_not_written_to(
    client: DynamoDBClient, tmp_path: Path
) -> None:
    file, part, other = (tmp_path / name for name in ("all", "all.part", "other"))
    other.write_text("theirs")
    other.chmod(0o644)
    part.hardlink_to(other)
    save(client, TABLE, Since(), file, lambda _: None)
    assert exported(file.read_text()) == NAMES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert other.read_text() == "theirs"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "No space left on device); make room, then repeat the command, which"),
        (errno.EROFS, "Read-only file system); mend that, then repeat the command, which"),
    ],
)
def test_an_export_whose_place_is_full_at_its_end_is_all_in_the_part_and_goes_on(
    number: int,
    told: str,
    aws: FakeAws,
    client: DynamoDBClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, full = tmp_path / "all.jsonl", True

    def fail(part: Path, path: Path) -> None:
        if full:
            raise OSError(number, os.strerror(number))
        move_private(part, path)

    monkeypatch.setattr(export, "move_private", fail)
    with pytest.raises(PaymentInfraError) as failed:
        save(client, TABLE, Since(), file, lambda _: None)
    assert str(failed.value) == f"{file}: cannot be written ({told} continues from there"
    calls, full = len(aws.called("dynamodb:Scan")), False
    assert save(client, TABLE, Since(), file, lambda _: None) == 200
    assert len(aws.called("dynamodb:Scan")) == calls
    assert exported(file.read_text()) == NAMES
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("length", [250, 255, 300])
def test_a_name_with_which_no_part_can_be_made_is_told(
    length: int, aws: FakeAws, client: DynamoDBClient, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"cannot be written \(File name too long\)$"):
        save(client, TABLE, Since(), tmp_path / ("n" * length), lambda _: None)
    assert aws.called("dynamodb:Scan") == []
    assert list(tmp_path.iterdir()) == []
