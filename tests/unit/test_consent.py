"""What an update keeps, and what it does only if it is asked for."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.deploying import forecast
from payment_infra.cloud.deploying.consent import check_kept, check_simulated, returning
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.events import Caution, Preview, PropertyChange
from payment_infra.cloud.sdk.endpoints import EMULATED_ACCOUNT
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import KEPT, PRESETS, StackConfig
from payment_infra.errors import Declined, UsageError
from payment_infra.gateway_names import (
    SCRIPTED_GATEWAY,
    SIMULATED_GATEWAY,
    STRIPE_GATEWAY,
    gateway_variable,
)
from payment_infra.record import RECORDED, Record, read_record
from payment_infra.sources import DEFAULTS, resolve
from tests.aws import FakeAws, FakeBucket
from tests.operators import FakeOperator
from tests.settings import OTHER, WITH
from tests.stacks import template

if TYPE_CHECKING:
    from payment_infra.cloud.events import Result

NAME = "payment-infra-dev"
# Values that are no default.
OTHERS: dict[str, Any] = {
    name: value
    for name, value in OTHER.items()
    if name in KEPT and name != "termination_protection"
}
ACME = OTHERS["gateway"]
SECRET = OTHERS["gateway_secret"]
PRODUCTION: dict[str, Any] = {"preset": "production", "gateway": "simulated"}
ENTERED = "payment-infra deploy --suffix dev --parameter LogLevel=INFO --yes"
ALL = frozenset({"broaden", "open", "replace"})


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


@pytest.fixture
def session(aws: FakeAws) -> Session:
    return aws.session()


def stack_of(session: Session) -> Stack:
    return Stack(session.client("cloudformation"), NAME, lambda _: None, "--suffix dev")


def run(
    session: Session,
    operator: FakeOperator | None = None,
    *,
    allow: frozenset[str] = ALL,
    **flags: object,
) -> Result:
    """Deploy with these flags, as the command does with --yes."""
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    options = DeployOptions(yes=True, allow=allow, command=ENTERED)
    who = operator or FakeOperator()
    return Deployment(session, stack_of(session), resolved, options, who).run()


def recorded(aws: FakeAws) -> Record:
    return read_record(template(aws.stacks[NAME].template))


def set_gateway(aws: FakeAws) -> None:
    """Give the deployed functions a gateway, and leave the record as it is."""
    stack = aws.stacks[NAME]
    changed = deepcopy(template(stack.template))  # which is kept
    for name in ("ProcessingFunction", "RetryFunction"):
        variables = changed["Resources"][name]["Properties"]["Environment"]["Variables"]
        variables["GATEWAY"] = gateway_variable(ACME)
    stack.template = json.dumps(changed)


def refusal(record: Record, command: str = ENTERED, **flags: object) -> str:
    with pytest.raises(UsageError) as refused:
        check_kept(NAME, record, resolve({"suffix": "dev", **flags}, {}), command)
    return str(refused.value)


# What money, access or protection hang on.


def test_the_marked_settings_are_those_on_which_money_access_or_protection_hang() -> None:
    assert set(KEPT) == {
        *("authorization", "payment_access"),
        *("endpoint_type", "endpoint_access_mode", "health_access"),
        *("allowed_accounts", "allowed_vpc_endpoints", "vpc_endpoints", "allowed_cidrs"),
        *("domain_name", "domain_certificate", "domain_truststore", "execute_api_endpoint"),
        *("firewall", "firewall_rate_limit"),
        *("gateway", "gateway_requirements", "gateway_secret", "gateway_events"),
        *("backup", "backup_days", "backup_lock_days", "backup_copy_vault"),
        *("retain_data", "customer_key"),
        *("deletion_protection", "replacement_protection", "termination_protection"),
        *("subnets", "security_groups"),
        *("permissions_boundary", "role_path", "role_prefix"),
        "environment_tag",
    }


@pytest.mark.parametrize("name", OTHERS)
def test_no_update_takes_a_marked_setting_back_to_a_default_that_nobody_named(name: str) -> None:
    record = Record(values={name: OTHERS[name]})
    line = refusal(record)
    assert line.startswith(f"stack {NAME}: this update would change settings that were not given: ")
    assert name in line
    for given in ({**WITH.get(name, {}), name: OTHERS[name]}, {name: getattr(DEFAULTS, name)}):
        check_kept(NAME, record, resolve({"suffix": "dev", **given}, {}), ENTERED)


@pytest.mark.parametrize("name", OTHERS)
def test_a_variable_or_the_file_names_a_setting_too(name: str, tmp_path: Path) -> None:
    record = Record(values={name: OTHERS[name]})
    value = getattr(DEFAULTS, name)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if value == ():
        text = ""
    check_kept(NAME, record, resolve({}, {f"PAYMENT_INFRA_{name.upper()}": text}), ENTERED)
    file = tmp_path / "settings.toml"
    written = text if isinstance(value, bool) else repr(value)
    file.write_text(f"{name} = {'[]' if value == () else written}")
    check_kept(NAME, record, resolve({}, {}, file), ENTERED)


def test_the_presets_default_is_nobodys_word_either() -> None:
    record = Record(preset="production", values={"retain_data": False})
    resolved = resolve({"suffix": "dev"}, {}).on("production")
    assert resolved.config.retain_data
    with pytest.raises(
        UsageError, match=r"retain_data from false to true.*--no-retain-data` keeps"
    ):
        check_kept(NAME, record, resolved, ENTERED)


def test_the_line_names_the_change_the_whole_command_and_the_flags_that_ask() -> None:
    record = Record(values={"gateway": ACME, "gateway_secret": SECRET, "authorization": "none"})
    resolved = resolve({"suffix": "dev", "tags": {"Team": "a b"}}, {}).on("production")
    with pytest.raises(UsageError) as refused:
        check_kept(NAME, record, resolved, f"{ENTERED} --tag 'Team=a b'")
    assert str(refused.value) == (
        f"stack {NAME}: this update would change settings that were not given: "
        "authorization from none to iam, "
        f"gateway from {ACME} to simulated, gateway_secret from {SECRET} to none; "
        f"`{ENTERED} --tag 'Team=a b' --authorization none --gateway {ACME} "
        f"--gateway-secret {SECRET}` keeps them, and "
        "--authorization iam --gateway simulated --gateway-secret '' changes them"
    )


def test_the_command_that_is_to_be_repeated_is_the_one_that_was_given() -> None:
    upload = "payment-infra upload --suffix dev --no-retain-data"
    record = Record(values={"retain_data": False, "deletion_protection": True})
    assert f"`{upload} --deletion-protection` keeps them" in refusal(
        record, upload, retain_data=False
    )


def test_a_forgotten_gateway_is_refused_and_nothing_is_changed(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    set_gateway(aws)
    before = aws.changes()
    resolved = resolve({"suffix": "dev", "bucket": "zips"}, {})
    with pytest.raises(UsageError, match=f"gateway from {ACME} to simulated"):
        run(session)
    with pytest.raises(UsageError, match=f"`payment-infra upload .*--gateway {ACME}` keeps them"):
        forecast.prepare(session, stack_of(session), resolved, lambda _: None)
    assert aws.changes() == before
    assert run(session, gateway="simulated").changed


def test_a_stack_from_before_the_record_keeps_its_access_too(
    session: Session, aws: FakeAws
) -> None:
    run(session, authorization="none")
    stack = aws.stacks[NAME]
    stack.template = stack.template.replace("PaymentInfra:", "Something:")
    with pytest.raises(UsageError, match="authorization from none to iam"):
        run(session)
    assert run(session, authorization="none").changed
    assert recorded(aws).values["authorization"] == "none"


VPC = {"endpoint_type": "private", "allowed_vpc_endpoints": ("vpce-0123456789abcdef0",)}


@pytest.mark.parametrize(
    ("before", "after", "first"),
    [
        (
            VPC,
            {"endpoint_type": "edge", "allowed_vpc_endpoints": ()},
            "deploy --endpoint-type regional first, then --endpoint-type edge",
        ),
        (
            {"endpoint_type": "regional", "endpoint_access_mode": "strict"},
            {"endpoint_type": "edge", "endpoint_access_mode": "basic"},
            "deploy --endpoint-type regional --endpoint-access-mode basic first, then "
            "--endpoint-type edge",
        ),
    ],
)
def test_an_endpoint_that_cannot_change_in_one_step_is_refused_with_the_first(
    session: Session, aws: FakeAws, before: Any, after: Any, first: str
) -> None:
    run(session, **before)
    changes = len(aws.changes())
    with pytest.raises(UsageError) as refused:
        run(session, **after)
    assert str(refused.value).endswith(first)
    assert len(aws.changes()) == changes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"endpoint_type": "regional"}),
        (VPC, {"endpoint_type": "regional", "allowed_vpc_endpoints": ()}),
        (
            {"endpoint_type": "regional", "endpoint_access_mode": "strict"},
            {"endpoint_type": "regional", "endpoint_access_mode": "basic"},
        ),
    ],
)
def test_any_other_change_of_the_endpoint_is_an_update(
    session: Session, before: Any, after: Any
) -> None:
    run(session, **before)
    assert run(session, **after).changed


# The record, and the preset.


def test_the_record_alone_makes_a_change_set(session: Session, aws: FakeAws) -> None:
    run(session)
    named = {name: getattr(DEFAULTS, name) for name in PRESETS["production"]}
    operator = FakeOperator()
    assert run(session, operator, **PRODUCTION, **named).changed
    [preview] = operator.of(Preview)
    assert [(one.action, one.logical_id) for one in preview.changes] == [("Modify", "AlarmTopic")]
    assert preview.changes[0].properties == (
        PropertyChange("Metadata.PaymentInfra.preset", "development", "production"),
    )
    assert recorded(aws).preset == "production"


def test_an_update_goes_on_with_the_stacks_preset(session: Session, aws: FakeAws) -> None:
    run(session, **PRODUCTION)
    assert not run(session, gateway="simulated").changed
    run(session, gateway="simulated", runtime="python3.12")
    record = recorded(aws)
    assert (record.preset, record.values["retain_data"]) == ("production", True)
    assert aws.stacks[NAME].protected
    resolved = resolve({"suffix": "dev", "bucket": "zips", "runtime": "python3.12"}, {})
    assert forecast.compare(session, stack_of(session), resolved).same


def test_a_deployed_parameter_wins_over_what_the_preset_says(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    aws.stacks[NAME].parameters["LogRetentionDays"] = "30"
    run(session, gateway="simulated", runtime="python3.12")
    assert aws.stacks[NAME].parameters["LogRetentionDays"] == "30"


def test_a_throttle_that_the_stack_keeps_is_no_higher_than_the_firewall_lets_one_address_send(
    session: Session, aws: FakeAws
) -> None:
    run(session, throttle_rate_limit=5000)
    before = aws.stacks[NAME].template
    line = (
        "firewall_rate_limit 650000, throttle_rate_limit 5000, throttle_burst_limit 2000: the "
        "firewall admits less from one address than the API does; give a firewall_rate_limit of at "
        "least 2 x (300 x throttle_rate_limit + throttle_burst_limit)"
    )
    with pytest.raises(UsageError) as refused:
        run(session, **PRODUCTION)
    assert str(refused.value) == line
    assert aws.stacks[NAME].template == before
    run(session, **PRODUCTION, firewall_rate_limit=3_004_000)
    assert aws.stacks[NAME].parameters["ThrottleRateLimit"] == "5000"


def test_a_preset_that_this_release_does_not_know_is_left_alone(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    stack = aws.stacks[NAME]
    stack.template = stack.template.replace("preset: development", "preset: staging")
    run(session)
    assert recorded(aws).preset == "development"


# What else goes back to its default.


def test_other_settings_go_back_to_their_default_before_everybodys_eyes(
    session: Session,
) -> None:
    run(session, runtime="python3.12", architecture="x86_64", tags={"Team": "a"})
    operator = FakeOperator()
    run(session, operator, architecture="arm64")
    [preview] = operator.of(Preview)
    assert preview.unasked == (
        PropertyChange("runtime", "python3.12", "python3.13"),
        PropertyChange("tags", "Team=a", "none"),
    )


def test_what_is_asked_for_or_stays_goes_back_to_nothing() -> None:
    record = Record(values={name: getattr(StackConfig(), name) for name in RECORDED})
    assert returning(record, resolve({"runtime": "python3.12"}, {})) == ()


# Who may call the API.


def test_an_api_is_opened_only_by_who_says_so(session: Session, aws: FakeAws) -> None:
    run(session)
    before = aws.stacks[NAME].template
    operator = FakeOperator(answer=False)
    others = ALL - {"open"}
    with pytest.raises(Declined):
        run(session, operator, allow=others, authorization="none")
    assert operator.asked == [
        "This update lets everybody call the API, without a signature. Go ahead?"
    ]
    with pytest.raises(UsageError, match="--allow open"):
        run(session, allow=others, authorization="none")
    assert (aws.stacks[NAME].template, aws.change_sets) == (before, {})
    assert run(session, authorization="none").changed
    assert run(session, allow=frozenset(), authorization="none", runtime="python3.12").changed


def test_a_change_set_that_was_left_opens_an_api_only_by_who_says_so(
    session: Session, aws: FakeAws
) -> None:
    run(session)
    resolved = resolve({"suffix": "dev", "bucket": "zips", "authorization": "none"}, {})
    stack = stack_of(session)
    Deployment(session, stack, resolved, DeployOptions(execute=False), FakeOperator()).run()
    [left] = [one["name"] for one in aws.change_sets.values()]
    options = DeployOptions(yes=True, change_set=left)
    with pytest.raises(UsageError, match="--allow open"):
        Deployment(session, stack, resolved, options, FakeOperator()).run()


def test_closing_an_api_says_that_its_callers_have_to_sign(session: Session) -> None:
    operator = FakeOperator()
    run(session, operator, authorization="none")
    assert operator.of(Caution) == []
    run(session, operator, allow=frozenset(), authorization="iam")
    [caution] = operator.of(Caution)
    assert "refuses requests without a signature" in caution.message
    told = [type(one) for one in operator.told]
    assert told.index(Caution) > len(told) - 1 - told[::-1].index(Preview)


# The gateway of production.


def test_production_on_aws_has_the_simulated_gateway_only_by_name(
    session: Session, aws: FakeAws
) -> None:
    line = (
        f"stack {NAME}: preset production, and no payment gateway is named; the simulated one "
        "would say that payments are processed, and move no money; name yours by --gateway, or ask "
        f"for it: `{ENTERED} --gateway simulated`"
    )
    with pytest.raises(UsageError) as refused:
        run(session, preset="production")
    assert str(refused.value) == line
    assert aws.changes() == []
    resolved = resolve({"suffix": "dev", "preset": "production"}, {})
    with pytest.raises(UsageError, match=r"`payment-infra upload .*--gateway simulated`"):
        forecast.prepare(session, stack_of(session), resolved, lambda _: None)
    assert aws.changes() == []
    assert run(session, **PRODUCTION).changed
    before = aws.changes()
    with pytest.raises(UsageError, match="no payment gateway is named"):
        run(session)
    assert aws.changes() == before


def test_the_simulated_gateway_is_not_advised_where_there_is_another(
    session: Session, aws: FakeAws
) -> None:
    run(session, **PRODUCTION)
    set_gateway(aws)
    with pytest.raises(
        UsageError, match=f"gateway from {ACME} to simulated; `.* --yes --gateway {ACME}` keeps"
    ):
        run(session, preset="production", throttle_rate_limit=5)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566"]
)
def test_the_embedded_aws_takes_production_with_the_simulated_gateway(
    url: str, session: Session, aws: FakeAws
) -> None:
    resolved = resolve({"suffix": "dev", "preset": "production"}, {})
    # A tunnel to AWS, or a proxy that signs, is on this machine as well.
    for elsewhere in (None, "https://vpce-1.example.com", "http://10.0.0.1:80", url):
        with pytest.raises(UsageError):
            check_simulated(NAME, resolved, Session(session._session, elsewhere), "deploy")
    aws.account = EMULATED_ACCOUNT
    check_simulated(NAME, resolved, Session(session._session, url), "deploy")


@pytest.mark.parametrize("preset", ["development", "production"])
def test_the_scripted_gateway_is_had_only_by_name(
    session: Session, aws: FakeAws, preset: str
) -> None:
    operator = FakeOperator()
    assert run(session, operator, preset=preset, gateway="scripted").changed
    [preview] = operator.of(Preview)
    assert preview.gateway == "scripted"
    before = aws.changes()
    with pytest.raises(UsageError, match=r"--yes .*--gateway scripted` keeps"):
        run(session, preset=preset)
    assert aws.changes() == before


@pytest.mark.parametrize(
    ("name", "gateway"),
    [
        *(("simulated", SIMULATED_GATEWAY), (SIMULATED_GATEWAY, SIMULATED_GATEWAY)),
        *(("scripted", SCRIPTED_GATEWAY), (SCRIPTED_GATEWAY, SCRIPTED_GATEWAY)),
        *(("stripe", STRIPE_GATEWAY), (STRIPE_GATEWAY, STRIPE_GATEWAY)),
    ],
)
def test_a_gateway_that_comes_along_has_a_short_name(name: str, gateway: str) -> None:
    resolved = resolve({"gateway": name}, {})
    assert resolved.config.gateway == gateway
    assert resolved.asked_for("gateway")


def test_a_preview_names_the_gateway_that_it_leads_to(session: Session) -> None:
    operator = FakeOperator()
    run(session, operator)
    [preview] = operator.of(Preview)
    assert preview.gateway == "simulated"


@pytest.mark.parametrize(
    ("had", "asked", "told"),
    [
        ({}, {"environment_tag": "environment"}, "the tag Environment would become environment"),
        ({"tags": {"Team": "a"}}, {"tags": {"team": "a"}}, "the tag Team would become team"),
        (
            {"environment_tag": "Suffix"},
            {"environment_tag": "Environment", "tags": {"suffix": "a"}},
            "the tag Suffix would become suffix",
        ),
    ],
    ids=["suffix", "tag", "from one to the other"],
)
def test_a_tags_key_changes_its_case_by_way_of_another_key(
    had: dict[str, Any], asked: dict[str, Any], told: str, session: Session, aws: FakeAws
) -> None:
    run(session, **had)
    before = aws.changes()
    for work in (
        lambda: run(session, **asked),
        lambda: forecast.prepare(
            session,
            stack_of(session),
            resolve({"suffix": "dev", "bucket": "zips", **asked}, {}),
            print,
        ),
    ):
        with pytest.raises(UsageError, match=f"{told}, which is the same key to IAM"):
            work()
    assert aws.changes() == before
    run(session, environment_tag="Other")
    asked = {"environment_tag": "Environment"} | asked
    run(session, **asked)
    assert recorded(aws).values["tags"] == asked.get("tags", {})


def test_what_a_deployment_refuses_in_one_step_is_told_with_the_difference(
    session: Session,
) -> None:
    run(session)
    told = list[Any]()
    asked = resolve({"suffix": "dev", "bucket": "zips", "environment_tag": "environment"}, {})
    assert not forecast.compare(session, stack_of(session), asked, told.append).same
    [caution] = told
    assert "would refuse this: stack payment-infra-dev: the tag Env" in caution.message
