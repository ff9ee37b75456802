"""A gateway in a file of the user's own: what is packaged of it, and what is not taken."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest

from handlers.shared.gateway import Charged, Declined, GatewayTimeout
from handlers.shared.notifications import Notification, check_signature, sign
from payment_infra import gateway_check
from payment_infra.artifacts import (
    HANDLERS,
    LAYER,
    build_artifacts,
    check_handlers,
    code_keys,
)
from payment_infra.config import StackConfig
from payment_infra.doctor import machine
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.gateway_check import check_gateway
from payment_infra.own_gateway import own_gateway
from payment_infra.pins import read_pins
from payment_infra.rules import RUNTIMES
from payment_infra.template import build_template
from payment_infra.zips import unzip_files, zip_files
from tests.documents import REPOSITORY, Page
from tests.gateways import gateway
from tests.offline import TINY_LAYER, installed_files, keep_layer
from tests.wheels import installable, pin, wheel

if TYPE_CHECKING:
    from urllib.request import Request

PAGE = Page(REPOSITORY / "docs" / "gateway.md")
NOW = datetime(2026, 11, 26, tzinfo=UTC)
GATEWAY_FUNCTIONS = {"validation", "processing", "cancellation", "retry", "gateway_events"}
HASH = f"--hash=sha256:{'0' * 64}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a gateway in it that requires a library."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "acme.py").write_text(gateway("import acme_sdk"))
    (work / "acme.txt").write_text(f"acme_sdk==1.0 {HASH}\n")
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with a tiny layer."""
    keep_layer(tmp_path / "cache", TINY_LAYER)
    return tmp_path / "cache"


def config(file: str = "acme.py", requirements: str = "acme.txt") -> StackConfig:
    return StackConfig(gateway=f"{file}:Acme", gateway_requirements=requirements)


ALONE = config(requirements="")
Download = Callable[[Path, Path], Iterable[Path]]


def bringing(files: Mapping[str, str], name: str = "acme_sdk-1.0-py3-none-any.whl") -> Download:
    """Return a download of one wheel with these files."""
    return lambda _, folder: [wheel(folder, name, files)]


SDK = bringing({"acme_sdk/__init__.py": "x = 1\n", "acme_sdk-1.0.dist-info/RECORD": ""})


def never(requirements: Path, folder: Path) -> Iterable[Path]:
    raise AssertionError("there was nothing to download")


def zips(asked: StackConfig, cache: Path, download: Download = SDK) -> dict[str, dict[str, bytes]]:
    """Return the files of each function's zip."""
    built = build_artifacts(config=asked, cache=cache, download=download)
    return {artifact.name: unzip_files(artifact.body) for artifact in built}


def refusal(asked: StackConfig) -> str:
    with pytest.raises(UsageError) as refused:
        own_gateway(asked, HANDLERS)
    message = str(refused.value)
    assert "\n" not in message
    return message


# What is packaged.


def test_the_functions_that_use_it_have_the_file_and_what_it_requires_and_the_others_do_not(
    cache: Path, folder: Path
) -> None:
    plain, found = zips(StackConfig(), cache, never), zips(config(), cache)
    more = {
        "acme.py": (folder / "acme.py").read_bytes(),
        "acme_sdk/__init__.py": b"x = 1\n",
        "acme_sdk-1.0.dist-info/RECORD": b"",
    }
    assert found == {
        name: files | (more if name in GATEWAY_FUNCTIONS else {}) for name, files in plain.items()
    }


def test_the_wheels_are_downloaded_once(cache: Path) -> None:
    assert zips(config(), cache) == zips(config(), cache, never)
    assert len(list(cache.iterdir())) == 2  # and the layer


def test_the_keys_of_what_uses_it_follow_both_files_and_no_others_do(folder: Path) -> None:
    def keys(asked: StackConfig) -> dict[str, str]:
        return code_keys(config=asked)

    plain = keys(StackConfig())
    seen = [plain, keys(ALONE), keys(config())]
    (folder / "acme.py").write_text(gateway("import acme_sdk as sdk"))
    seen.append(keys(config()))
    (folder / "acme.txt").write_text(f"acme_sdk==1.1 {HASH}\n")
    seen.append(keys(config()))
    for name, key in plain.items():
        found = {keys[name] for keys in seen}
        assert len(found) == (len(seen) if name in GATEWAY_FUNCTIONS else 1), (name, key)


def test_an_artifact_has_the_key_that_the_template_names(cache: Path) -> None:
    built = build_artifacts(config=config(), cache=cache, download=SDK)
    keys = code_keys(config=config())
    assert {artifact.name: artifact.key for artifact in built} | {LAYER: keys[LAYER]} == keys


def test_keys_need_neither_pip_nor_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payment_infra.wheels.Wheels.build", never)
    assert code_keys(config=config())


def test_where_the_files_are_changes_no_byte_and_is_told_nowhere(
    cache: Path, folder: Path, tmp_path: Path
) -> None:
    before, keys = zips(config(), cache), code_keys(config=config())
    elsewhere = config(str(folder / "acme.py"), str(folder / "acme.txt"))
    assert (zips(elsewhere, cache), code_keys(config=elsewhere)) == (before, keys)
    templates = [build_template(asked, keys).to_json() for asked in (config(), elsewhere)]
    assert templates[0] == templates[1]
    assert str(tmp_path) not in templates[1]
    body = b"".join(content for files in before.values() for content in files.values())
    assert str(tmp_path).encode() not in body


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_as_windows_saves_them_are_the_same(mark: bytes, cache: Path, folder: Path) -> None:
    before, keys = zips(config(), cache), code_keys(config=config())
    for name in ("acme.py", "acme.txt"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(mark + content.replace(b"\n", b"\r\n"))
    assert (zips(config(), cache, never), code_keys(config=config())) == (before, keys)


def test_the_functions_are_told_the_module_and_the_class() -> None:
    template = build_template(config("../gateways/acme.py"), code_keys()).to_dict()
    for function in ("ProcessingFunction", "RetryFunction"):
        variables = template["Resources"][function]["Properties"]["Environment"]["Variables"]
        assert variables["GATEWAY"] == "acme:Acme"


def test_requirements_that_name_nothing_are_none(folder: Path) -> None:
    before = code_keys(config=ALONE)
    (folder / "acme.txt").write_text("# nothing yet\n")
    assert code_keys(config=config()) == before


def test_the_simulated_gateway_reads_no_requirements() -> None:
    asked = StackConfig(gateway_requirements="missing.txt")
    assert code_keys(config=asked) == code_keys(config=StackConfig())


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, in which alone pip finds wheels."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tmp_path


def test_pip_gets_what_is_pinned_by_the_users_settings(
    cache: Path, pip: Path, folder: Path
) -> None:
    pin(folder / "acme.txt", installable(pip, "acme_sdk", source="y = 2\n"))
    built = build_artifacts(config=config(), cache=cache)
    found = {artifact.name: unzip_files(artifact.body) for artifact in built}
    assert found["retry"]["acme_sdk.py"] == b"y = 2\n"
    (pip / "acme_sdk-1.0-py3-none-any.whl").unlink()
    pin(folder / "acme.txt", installable(pip, "acme_sdk"), acme_sdk="0" * 64)
    with pytest.raises(PaymentInfraError) as refused:
        build_artifacts(config=config(), cache=cache)
    assert str(refused.value).startswith(
        "acme_sdk==1.0 cannot be had for the payment gateway: what the index has is another file "
        "than the hash in acme.txt says. "
    )


def test_what_does_not_take_the_runtimes_python_is_refused(
    cache: Path, pip: Path, folder: Path
) -> None:
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    other = next(runtime for runtime in reversed(RUNTIMES) if runtime != here)
    for runtime in (here, other):
        version = runtime.removeprefix("python")
        pin(folder / "acme.txt", installable(pip, "acme_sdk", python=f"=={version}.*"))
        assert build_artifacts(config=replace(config(), runtime=runtime), cache=cache)
        wrong = other if runtime == here else here
        with pytest.raises(PaymentInfraError) as refused:
            build_artifacts(config=replace(config(), runtime=wrong), cache=cache)
        told = (
            f"requires a different Python: {wrong.removeprefix('python')}.0 not in '=={version}.*'"
        )
        assert told in str(refused.value)


# What is refused.


def test_a_file_that_is_not_there_is_named_with_where_it_is_looked_for() -> None:
    told = "cannot be read (No such file or directory); a path is relative to the configuration"
    assert refusal(config("b/acme.py")).startswith(f"gateway b/acme.py:Acme: b/acme.py: {told} ")
    assert refusal(config(requirements="b.txt")).startswith(f"gateway_requirements b.txt: {told} ")


def test_what_is_not_a_file_of_its_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    (folder / "loop.py").symlink_to("loop.py")
    (tmp_path / "outside.py").write_text(gateway())
    (folder / "outside.py").symlink_to("../outside.py")
    (folder / "inside.py").symlink_to("acme.py")
    told = {
        "folder": "is not a file; name one",
        "pipe": "is not a file; name one",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "outside": "is a link out of its folder; name the file itself",
    }
    for name, problem in told.items():
        message = refusal(config(f"{name}.py"))
        assert message == f"gateway {name}.py:Acme: {name}.py: {problem}"
    assert own_gateway(config("inside.py"), HANDLERS)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gateway().encode("utf-16"), "acme.py: is a text in UTF-16; save it in UTF-8"),
        (b"x = '\xe9'\n", "acme.py: is not a text in UTF-8 (byte 5)"),
        (b"x = 1\ndef f(:\n", "acme.py:2: invalid syntax; validation was not packaged, mend the "),
        (b"x = 1\n", "gateway acme.py:Acme: acme.py defines no class Acme"),
    ],
)
def test_a_file_without_the_class_is_refused_with_its_place(
    content: bytes, problem: str, folder: Path
) -> None:
    (folder / "acme.py").write_bytes(content)
    with pytest.raises(PaymentInfraError) as refused:
        check_handlers(ALONE)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    "name",
    [
        *("handlers", "processing", "validation", "json", "boto3", "dateutil", "jmespath"),
        *("aws_lambda_powertools", "typing_extensions", "awslambdaric", "bootstrap"),
    ],
)
def test_a_file_that_would_hide_another_module_is_refused(name: str, folder: Path) -> None:
    (folder / f"{name}.py").write_text(gateway())
    told = f"the functions have another module {name} already, which it would hide; rename the file"
    assert refusal(config(f"{name}.py")) == f"gateway {name}.py:Acme: {told}"


def test_every_module_of_the_layer_is_one_that_a_file_may_not_hide() -> None:
    own = own_gateway(ALONE, HANDLERS)
    assert own
    parts = {path.split("/")[1] for path in installed_files()}
    modules = {part.removesuffix(".py") for part in parts if "." not in part.removesuffix(".py")}
    assert "aws_lambda_powertools" in modules
    assert modules <= own.taken


@pytest.mark.parametrize(
    ("pinned", "problem"),
    [
        ("typing-extensions==1.0", "and the functions have typing-extensions=={}"),
        ("urllib3==2.0", "and Lambda's runtime has a urllib3 that fits its SDK; leave it out"),
        ("Python_DateUtil==2.0", "and Lambda's runtime has a python-dateutil that fits its SDK"),
    ],
)
def test_what_the_functions_have_is_not_required_in_another_version(
    pinned: str, problem: str, folder: Path
) -> None:
    layer = read_pins((HANDLERS / "requirements.txt").read_text(), "layer")
    (folder / "acme.txt").write_text(f"{pinned} {HASH}\n")
    assert problem.format(layer["typing-extensions"]) in refusal(config())


def test_what_the_layer_has_may_be_required_in_that_version(cache: Path, folder: Path) -> None:
    layer = read_pins((HANDLERS / "requirements.txt").read_text(), "layer")
    version = layer["typing-extensions"]
    (folder / "acme.txt").write_text(f"typing-extensions=={version} {HASH}\n")
    found = zips(config(), cache, bringing({"typing_extensions.py": "same"}))
    assert found["retry"]["typing_extensions.py"] == b"same"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("handlers/shared/money.py", "which would hide one that the functions have; choose "),
        ("json/__init__.py", "which would hide one that the functions have; choose "),
        ("six.py", "which would hide one that the functions have; choose "),
        ("acme/__init__.py", "and so is acme.py called; rename that file"),
    ],
)
def test_wheels_that_would_hide_another_module_are_refused(
    path: str, told: str, cache: Path
) -> None:
    module = path.partition("/")[0].removesuffix(".py")
    with pytest.raises(PaymentInfraError) as refused:
        build_artifacts(config=config(), cache=cache, download=bringing({path: ""}))
    assert str(refused.value).startswith(f"acme.txt: its wheels have a module {module}, {told}")


def test_wheels_that_are_not_pure_are_refused_by_name(cache: Path) -> None:
    fast = bringing({"acme_sdk.py": ""}, "acme_sdk-1.0-cp313-cp313-manylinux_2_17_aarch64.whl")
    with pytest.raises(PaymentInfraError, match=r"manylinux.* choose another library in acme\.txt"):
        build_artifacts(config=config(), cache=cache, download=fast)


def test_requirements_that_change_meanwhile_are_not_kept_under_the_old_digest(
    cache: Path, folder: Path
) -> None:
    def slow(requirements: Path, scratch: Path) -> Iterable[Path]:
        requirements.write_text(f"acme_sdk==2.0 {HASH}\n")
        return SDK(requirements, scratch)

    with pytest.raises(PaymentInfraError, match=r"^acme\.txt: has changed meanwhile; "):
        build_artifacts(config=config(), cache=cache, download=slow)
    assert [path.name for path in cache.glob("gateway-*")] == []
    assert zips(config(), cache)


def test_a_damaged_cache_is_named(cache: Path) -> None:
    zips(config(), cache)
    [kept] = cache.glob("gateway-*.zip")
    kept.write_bytes(b"half")
    with pytest.raises(PaymentInfraError, match=f"{kept.name} in the user's cache folder is dam"):
        build_artifacts(config=config(), cache=cache)


# Whether it can be imported.


def check(asked: StackConfig, cache: Path, download: Download = SDK) -> None:
    check_gateway(asked, cache=cache, download=download)


def told(asked: StackConfig, cache: Path, download: Download = SDK) -> str:
    with pytest.raises(PaymentInfraError) as refused:
        check(asked, cache, download)
    message = str(refused.value)
    assert "\n" not in message
    return message.removeprefix(f"gateway {asked.gateway}: ")


def test_a_whole_class_passes_with_what_it_requires(cache: Path, folder: Path) -> None:
    check(config(), cache)
    (folder / "acme.py").write_text(
        gateway("import acme_sdk\nfrom handlers.shared.gateway import Charged")
    )
    keep_layer(cache, zip_files(installed_files()))
    check(config(), cache)


def test_the_one_of_the_documents_is_a_gateway(
    cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, _ = [block for block in PAGE.blocks if block.info == "python"]
    (folder / "acme.py").write_text(block.text)
    keep_layer(cache, zip_files(installed_files()))
    check(ALONE, cache)
    module: dict[str, Any] = {}
    exec(compile(block.text, "acme.py", "exec"), module)
    charged = {"status": "succeeded", "id": "ch_1"}
    answers: list[Any] = [
        charged,
        {"status": "declined", "code": "insufficient_funds"},
        {"data": [charged]},
        {"data": []},
        {"status": "pending"},
        HTTPError("", 500, "", Message(), None),
        TimeoutError(),
    ]

    def urlopen(request: Request, timeout: float) -> BytesIO:
        assert (request.headers["Authorization"], timeout) == ("Bearer key", 2)
        match answers.pop(0):
            case OSError() as error:
                raise error
            case answer:
                return BytesIO(json.dumps(answer).encode())

    module["urlopen"] = urlopen
    acme, payment = (
        module["Acme"]("key"),
        SimpleNamespace(amount_minor=10050, currency="USD", customer_id="cust-12345"),
    )
    assert acme.charge(payment, idempotency_key="key-1") == Charged("ch_1")
    assert acme.charge(payment, idempotency_key="key-1") == Declined("insufficient_funds")
    assert acme.find("key-1") == Charged("ch_1")
    assert acme.find("key-1") is None
    for _ in range(3):
        with pytest.raises(GatewayTimeout):
            acme.charge(payment, idempotency_key="key-1")


def test_what_is_missing_is_told_with_where_to_pin_it(cache: Path, folder: Path) -> None:
    missing = "acme.py:2: ModuleNotFoundError: No module named 'acme_sdk'; "
    other = bringing({"other.py": ""})
    assert (
        told(config(), cache, other) == f"{missing}pin what it imports in acme.txt, with its hash"
    )
    assert told(ALONE, cache) == (
        f"{missing}pin what it imports in a file, with its hash, and name that gateway_requirements"
    )
    (folder / "acme_sdk.py").touch()
    alone = "of one's own files acme.py alone is packaged; put it in there"
    assert told(ALONE, cache) == f"{missing}{alone}"


def test_an_error_is_told_with_its_place_in_the_file_and_in_what_it_requires(cache: Path) -> None:
    broken = bringing({"acme_sdk/__init__.py": "x = 1\n1 / 0\n"})
    assert told(config(), cache, broken) == (
        "acme.py:2: ZeroDivisionError: division by zero (in what it requires, "
        "acme_sdk/__init__.py:2); mend it, since payments could not be charged"
    )


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"find": ""}, "has no method find"),
        ({"retention": "KEY_RETENTION = 24"}, "has a KEY_RETENTION that is no timedelta above 0"),
    ],
)
def test_a_class_that_is_no_gateway_is_told_with_its_line(
    members: dict[str, str], problem: str, cache: Path, folder: Path
) -> None:
    (folder / "acme.py").write_text(gateway(**members))
    assert told(ALONE, cache).startswith(f"acme.py:3: Acme {problem}; the protocol in ")


def test_more_than_lambda_takes_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = len(TINY_LAYER) + 1024 * 1024 + 2_000_000
    monkeypatch.setattr(gateway_check, "MAX_UNZIPPED_BYTES", limit)
    check(config(), cache, bringing({"acme_sdk.py": "", "data": "x" * 2_000_000}))
    large = config(requirements="large.txt")
    Path("large.txt").write_text(f"acme_sdk==2.0 {HASH}\n")
    message = told(large, cache, bringing({"acme_sdk.py": "", "data": "x" * 2_000_001}))
    assert message == (
        "large.txt: comes to 2 MB, and a function has 250 MB at most, with its layer; require less"
    )


def test_the_doctor_downloads_nothing_to_look_at_it(cache: Path) -> None:
    unbuilt = machine.check_gateway(config(), cache=cache)
    assert (unbuilt.level, "payment-infra package" in unbuilt.remedy) == ("warn", True)
    zips(config(), cache)
    assert machine.check_gateway(config(), cache=cache).level == "ok"
    missing = machine.check_gateway(config("b.py"), cache=cache)
    assert (missing.level, missing.message) == (
        "fail",
        "b.py:Acme: b.py: cannot be read (No such file or directory)",
    )
    assert "relative to the configuration file" in missing.remedy


def test_the_method_of_the_documents_takes_a_signed_notification() -> None:
    _, block = [block for block in PAGE.blocks if block.info == "python"]
    known = {"json": json, "check_signature": check_signature, "Notification": Notification}
    exec(f"class Acme:\n    _signing_secrets = ('s',)\n{block.text}", known)
    for kind, expected in (
        ("payment.paid", Notification("p", "a", "test")),
        ("payout.paid", None),
    ):
        told = {"type": kind, "payment_id": "p", "account": "a", "mode": "test"}
        body = json.dumps(told).encode()
        headers = {"acme-signature": sign(body, "s", NOW)}
        assert known["Acme"]().notification(headers, body, NOW) == expected  # type: ignore[operator]
