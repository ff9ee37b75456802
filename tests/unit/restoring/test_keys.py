"""With whose key a copy is encrypted, and what a key that cannot be used keeps from happening."""

from __future__ import annotations

import json

import pytest

from payment_infra.cloud.events import Caution
from payment_infra.errors import AwsError
from tests.restoring import OWN, World
from tests.stacks import REGION
from tests.tables import AWS_MANAGED

OTHER_STATES = ["Disabled", "PendingDeletion", "PendingImport", "Unavailable"]


@pytest.fixture
def world() -> World:
    """A world whose stack has a key, which encrypts its table."""
    world = World()
    world.own.encrypted_by = give_key(world)
    world.aws.answers["backup:ListRecoveryPointsByResource"] = {"RecoveryPoints": []}
    return world


def give_key(world: World, key_id: str = "k-1") -> str:
    world.stack.resources["EncryptionKey"] = "CREATE_COMPLETE"
    world.stack.physical_ids["EncryptionKey"] = key_id
    return world.aws.add_key(key_id)


def told_of(world: World) -> list[str]:
    return [caution.message for caution in world.operator.of(Caution)]


def asked(world: World) -> object:
    [call] = world.aws.called("dynamodb:RestoreTableToPointInTime")
    return call["SSESpecificationOverride"]


def named(key: str) -> dict[str, object]:
    return {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}


def test_a_restore_states_the_key_of_the_stack(world: World) -> None:
    world.restore()
    assert asked(world) == named(world.own.encrypted_by)
    assert world.tables.tables[world.active].encrypted_by == world.own.encrypted_by


def test_a_restore_without_any_key_states_that_too() -> None:
    world = World()
    world.restore()
    assert asked(world) == {"Enabled": False}
    assert world.aws.called("kms:DescribeKey") == []


def test_the_key_of_the_stack_counts_more_than_that_of_the_table(world: World) -> None:
    """The roles are granted that one; payments are in a copy of the time before it, say."""
    world.own.encrypted_by = ""
    world.restore()
    assert asked(world) == named(f"arn:aws:kms:{REGION}:123456789012:key/k-1")


def test_where_the_stack_has_no_key_its_tables_counts() -> None:
    world = World()
    world.own.encrypted_by = world.aws.add_key("of-somebody")
    world.restore()
    assert asked(world) == named(world.own.encrypted_by)


def test_the_key_that_aws_manages_for_dynamodb_is_not_named() -> None:
    world = World()
    world.own.encrypted_by = AWS_MANAGED
    world.aws.add_key("aws-dynamodb")
    world.aws.keys[AWS_MANAGED]["KeyManager"] = "AWS"
    world.restore()
    assert asked(world) == {"Enabled": True, "SSEType": "KMS"}


@pytest.mark.parametrize("state", OTHER_STATES)
def test_a_key_that_cannot_be_used_is_refused_before_anything_changes(
    world: World, state: str
) -> None:
    arn = world.own.encrypted_by
    world.aws.keys[arn]["KeyState"] = state
    with pytest.raises(AwsError) as refused:
        world.restore()
    message = str(refused.value)
    assert message.startswith(f"key {arn} is {state}, and what it encrypts cannot be read")
    assert f"aws kms enable-key --key-id {arn} --region {REGION}" in message
    assert ("cancel-key-deletion" in message) is (state == "PendingDeletion")
    assert world.aws.changes() == []
    assert world.intake.takes_requests


def test_a_key_that_is_disabled_meanwhile_is_refused_before_payments_stop(world: World) -> None:
    world.stop_at("dynamodb:Scan")  # the copy is there, and is not verified yet
    arn = world.own.encrypted_by
    world.aws.keys[arn]["KeyState"] = "Disabled"
    with pytest.raises(AwsError, match="is Disabled"):
        world.restore()
    assert world.intake.takes_requests
    assert world.active == OWN
    world.aws.keys[arn]["KeyState"] = "Enabled"
    world.restore()
    assert world.active != OWN


def test_an_undo_is_refused_before_payments_stop_if_a_key_cannot_be_used(world: World) -> None:
    world.restore()
    copy = world.active
    world.own.encrypted_by = world.aws.add_key("old", state="PendingDeletion")
    with pytest.raises(AwsError, match="key/old is PendingDeletion"):
        world.undo()
    assert (world.active, world.intake.takes_requests) == (copy, True)


def test_a_copy_that_keeps_another_key_is_not_what_it_should_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(world.own), "encrypt", lambda *_: None)
    with pytest.raises(AwsError, match="is not what it should be, and payments go on in"):
        world.restore()
    told = [line for line in told_of(world) if "it is encrypted with" in line]
    assert told == [
        f"{world.copies[0].name}: it is encrypted with a key of DynamoDB's own, not "
        f"{world.own.encrypted_by}"
    ]
    assert world.active == OWN


def test_a_lost_table_comes_back_with_the_key_of_the_stack(world: World) -> None:
    key, template = world.own.encrypted_by, json.loads(world.stack.template)
    template["Resources"] = {"TransactionsTable": {"Properties": {}}}
    world.stack.template = json.dumps(template)
    world.tables.remove(OWN)
    world.restore(to=None, from_backup="latest")
    [call] = world.aws.called("dynamodb:RestoreTableFromBackup")
    assert call["SSESpecificationOverride"] == named(key)
    assert world.tables.tables[world.active].encrypted_by == key


def test_a_backup_is_not_restored_with_a_key_that_cannot_be_used(world: World) -> None:
    world.tables.remove(OWN)
    world.aws.keys["k-1"]["KeyState"] = "Disabled"
    with pytest.raises(AwsError, match="key/k-1 is Disabled"):
        world.restore(to=None, from_backup="latest")
    assert world.aws.changes() == []
