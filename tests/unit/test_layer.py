"""The dependency layer, from tiny wheels that are made here; pip runs for real, but offline."""

from __future__ import annotations

import configparser
import errno
import http.server
import importlib.metadata
import io
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from payment_infra.artifacts import HANDLERS, LAYER, layer_digest
from payment_infra.errors import PaymentInfraError
from payment_infra.layer import build_layer
from tests.offline import TINY_LAYER
from tests.wheels import installable, pin, wheel

if TYPE_CHECKING:
    from payment_infra.wheels import Download

REPOSITORY = Path(__file__).parents[2]
# Nothing listens there (RFC 863's discard).
NOWHERE = "http://127.0.0.1:9/simple"

Wheels = Mapping[str, Mapping[str, str]]


class FakeDownload:
    """Makes wheels in place of a download."""

    def __init__(self, wheels: Wheels, order: Callable[[list[Path]], list[Path]] = list) -> None:
        self.wheels, self.order = wheels, order
        self.asked: list[Path] = []

    def __call__(self, requirements: Path, folder: Path) -> Iterable[Path]:
        self.asked.append(requirements)
        return self.order([wheel(folder, name, files) for name, files in self.wheels.items()])


def never(requirements: Path, folder: Path) -> Iterable[Path]:
    raise AssertionError("there was nothing to download")


ALPHA, BETA = "alpha-1.0-py3-none-any.whl", "beta-2.0-py2.py3-none-any.whl"
WHEELS: Wheels = {
    ALPHA: {"alpha/__init__.py": "", "alpha/z.py": "z = 1\n", "alpha-1.0.dist-info/RECORD": "x"},
    BETA: {"beta.py": "b = 1\n", "b/": "", "b/c.txt": "é"},
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder that is yet to be made."""
    return tmp_path / "cache" / "payment-infra"


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    """A folder with requirements."""
    root = tmp_path / "handlers"
    root.mkdir()
    (root / "requirements.txt").write_text("alpha==1.0\nbeta==2.0\n")
    return root


def contents(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {path: archive.read(path) for path in archive.namelist()}


def backwards(wheels: Wheels) -> Wheels:
    return {name: dict(reversed(list(wheels[name].items()))) for name in reversed(list(wheels))}


# The zip.


def test_the_order_of_the_wheels_and_of_their_files_makes_no_difference(
    handlers: Path, tmp_path: Path
) -> None:
    # Both have one file, of which one can be in the layer.
    wheels = {name: {**WHEELS[name], "LICENSE": name} for name in WHEELS}
    downloads = [
        FakeDownload(wheels),
        FakeDownload(wheels, lambda paths: paths[::-1]),
        FakeDownload(backwards(wheels)),
    ]
    bodies = {
        build_layer(handlers, tmp_path / str(number), download).body
        for number, download in enumerate(downloads)
    }
    assert len(bodies) == 1


def test_the_files_are_where_the_runtimes_look_for_them(handlers: Path, cache: Path) -> None:
    # Lambda, "Packaging your layer content".
    assert contents(build_layer(handlers, cache, FakeDownload(WHEELS)).body) == {
        "python/alpha/__init__.py": b"",
        "python/alpha/z.py": b"z = 1\n",
        "python/alpha-1.0.dist-info/RECORD": b"x",
        "python/beta.py": b"b = 1\n",
        "python/b/c.txt": "é".encode(),
    }


def test_the_entries_are_sorted_stored_readable_and_without_a_time(
    handlers: Path, cache: Path
) -> None:
    body = build_layer(handlers, cache, FakeDownload(WHEELS)).body
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    "name",
    [
        "fast-1.0-cp313-cp313-manylinux_2_17_aarch64.whl",
        "fast-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
        "fast-1.0-py3-none-manylinux_2_17_x86_64.whl",
        "fast-1.0-py3-none-macosx_11_0_arm64.whl",
        "fast-1.0-cp313-none-any.whl",
        "fast-1.0-py314-none-any.whl",
        "fast-1.0-py2-none-any.whl",
        "fast-1.0.tar.gz",
    ],
)
def test_a_wheel_that_does_not_fit_every_runtime_and_architecture_is_refused_by_name(
    name: str, handlers: Path, cache: Path
) -> None:
    with pytest.raises(PaymentInfraError) as refused:
        build_layer(handlers, cache, FakeDownload({**WHEELS, name: {"fast.py": ""}}))
    assert str(refused.value).startswith(f"{name} is not pure Python, ")
    assert not cache.exists()


# The digest.


def test_the_digest_follows_the_requirements_and_nothing_else(
    handlers: Path, tmp_path: Path
) -> None:
    before = layer_digest(handlers)
    (handlers / "validation.py").write_text("x = 1\n")
    (handlers / "shared").mkdir()
    (handlers / "shared" / "money.py").write_text("x = 1\n")
    os.utime(handlers / "requirements.txt", (0, 0))
    assert layer_digest(handlers) == before
    elsewhere = shutil.copytree(handlers, tmp_path / "elsewhere")
    assert layer_digest(elsewhere) == before
    with (handlers / "requirements.txt").open("a") as file:
        file.write("# a note\n")
    assert layer_digest(handlers) != before


def test_the_artifact_has_the_digest_of_the_requirements(handlers: Path, cache: Path) -> None:
    artifact = build_layer(handlers, cache, FakeDownload(WHEELS))
    assert (artifact.name, artifact.digest) == (LAYER, layer_digest(handlers))
    assert artifact.key == f"payment-infra/{LAYER}/{artifact.digest}.zip"


# The cache.


def test_the_layer_is_built_once_and_then_taken_from_the_cache(handlers: Path, cache: Path) -> None:
    download = FakeDownload(WHEELS)
    built = build_layer(handlers, cache, download)
    assert download.asked == [handlers / "requirements.txt"]
    assert build_layer(handlers, cache, never) == built
    [kept] = cache.iterdir()
    assert kept.read_bytes() == built.body


def test_other_requirements_are_built_anew_beside_the_old(handlers: Path, cache: Path) -> None:
    before = build_layer(handlers, cache, FakeDownload(WHEELS))
    (handlers / "requirements.txt").write_text("alpha==1.0\n")
    after = build_layer(handlers, cache, FakeDownload({ALPHA: WHEELS[ALPHA]}))
    assert set(contents(after.body)) < set(contents(before.body))
    assert len(list(cache.iterdir())) == 2


def test_the_cache_is_the_users_own(
    handlers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build_layer(download=never).body == TINY_LAYER
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    build_layer(handlers, download=FakeDownload(WHEELS))
    assert build_layer(handlers, tmp_path / "xdg" / "payment-infra", never)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    build_layer(handlers, download=FakeDownload(WHEELS))
    assert build_layer(handlers, tmp_path / "home" / ".cache" / "payment-infra", never)


def test_a_download_that_fails_leaves_nothing_in_the_cache(handlers: Path, cache: Path) -> None:
    def fail(requirements: Path, folder: Path) -> Iterable[Path]:
        wheel(folder, ALPHA, WHEELS[ALPHA])
        raise PaymentInfraError("beta cannot be had")

    with pytest.raises(PaymentInfraError, match="beta cannot be had"):
        build_layer(handlers, cache, fail)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_does_not_stop_packaging(
    handlers: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    for cache in (file, file / "cache", Path("/proc/self/cache")):
        assert contents(build_layer(handlers, cache, FakeDownload(WHEELS)).body)
    assert file.read_text() == "no folder"


def test_a_cache_that_cannot_be_read_does_not_stop_packaging(handlers: Path, cache: Path) -> None:
    # Where root is not stopped by a mode, a folder in the file's place stops it.
    (cache / f"{LAYER}-{layer_digest(handlers)}.zip").mkdir(parents=True)
    assert contents(build_layer(handlers, cache, FakeDownload(WHEELS)).body)


def test_a_user_without_a_home_can_package(handlers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    assert contents(build_layer(handlers, download=FakeDownload(WHEELS)).body)


# pip.


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what pip may do: by default nothing, and that at once."""
    for name in os.environ:
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    def set_options(**options: str) -> None:
        for name, value in options.items():
            monkeypatch.setenv(f"PIP_{name}", value)

    set_options(CONFIG_FILE=os.devnull, RETRIES="0", TIMEOUT="5")
    return set_options


def refusal(handlers: Path, cache: Path, download: Download | None = None) -> str:
    with pytest.raises(PaymentInfraError) as refused:
        build_layer(handlers, cache, download)
    message = str(refused.value)
    assert "\n" not in message
    assert not cache.exists()
    return message


def test_a_download_that_fails_names_the_requirement_and_says_what_needs_none(
    cache: Path, pip: Callable[..., None]
) -> None:
    pip(INDEX_URL=NOWHERE)
    message = refusal(HANDLERS, cache)
    first = re.match(r"\S+", pinned()[0])
    assert first
    assert message.startswith(f"{first[0]} cannot be had for the dependency layer: ")
    assert message.endswith("`payment-infra render` needs none of this")


def test_the_requirement_that_could_not_be_had_is_named_and_not_the_others(
    handlers: Path, cache: Path, tmp_path: Path, pip: Callable[..., None]
) -> None:
    wheels = [installable(tmp_path, name) for name in ("alpha", "alphabet", "gamma")]
    pin(handlers / "requirements.txt", *wheels)
    wheels[1].unlink()
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    assert refusal(handlers, cache).startswith("alphabet==1.0 cannot be had ")


def test_what_is_pinned_is_downloaded_as_it_is_and_nothing_besides(
    handlers: Path, cache: Path, tmp_path: Path, pip: Callable[..., None]
) -> None:
    alpha = installable(tmp_path, "alpha", needs="beta")
    installable(tmp_path, "alpha", "2.0")
    installable(tmp_path, "beta")
    pin(handlers / "requirements.txt", alpha)
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    body = build_layer(handlers, cache).body
    with zipfile.ZipFile(alpha) as archive:
        assert contents(body) == {
            f"python/{path}": archive.read(path) for path in archive.namelist()
        }


def test_a_wheel_of_another_hash_is_refused_and_named(
    handlers: Path, cache: Path, tmp_path: Path, pip: Callable[..., None]
) -> None:
    wheels = [installable(tmp_path, name) for name in ("alpha", "beta", "gamma")]
    pin(handlers / "requirements.txt", *wheels, beta="0" * 64)
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    message = refusal(handlers, cache)
    assert message.startswith("beta==1.0 cannot be had for the dependency layer: ")
    assert "another file than the hash in requirements.txt says" in message


def test_a_requirement_without_a_hash_is_refused(
    handlers: Path, cache: Path, tmp_path: Path, pip: Callable[..., None]
) -> None:
    installable(tmp_path, "alpha")
    (handlers / "requirements.txt").write_text("alpha==1.0\n")
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    assert "hash" in refusal(handlers, cache).lower()


def test_a_python_without_pip_is_told_how_to_get_it(
    handlers: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "{python}: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert refusal(handlers, cache) == (
        "the dependency layer cannot be built, for this Python has no pip; "
        f"`{python} -m ensurepip` installs it"
    )


def test_what_lies_in_the_current_folder_is_not_taken_for_pip(
    handlers: Path,
    cache: Path,
    tmp_path: Path,
    pip: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pin(handlers / "requirements.txt", installable(tmp_path, "alpha"))
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    for name in ("pip.py", "logging.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger')\n")
    monkeypatch.chdir(tmp_path)
    assert "python/alpha.py" in contents(build_layer(handlers, cache).body)


class Index(http.server.BaseHTTPRequestHandler):
    """A proxy that has an index behind it, with all that is in a folder."""

    folder: Path

    def do_GET(self) -> None:
        """Answer as an index ("Simple repository API") does."""
        url = urlsplit(self.path)
        assert url.hostname == "index.example", self.path
        name = Path(url.path).name
        if url.path.startswith("/simple/"):
            found = [path.name for path in self.folder.glob(f"{name}-*.whl")]
            body = "".join(f'<a href="/files/{file}">{file}</a>' for file in found).encode()
        else:
            body = (self.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.mark.parametrize("by", ["variable", "file"])
def test_the_index_and_the_proxy_are_those_of_the_users_own_settings(
    by: str,
    handlers: Path,
    cache: Path,
    tmp_path: Path,
    pip: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    pin(handlers / "requirements.txt", installable(wheels, "alpha"))
    settings = {"index-url": "http://index.example/simple", "trusted-host": "index.example"}
    served = type("Served", (Index,), {"folder": wheels})
    with http.server.HTTPServer(("127.0.0.1", 0), served) as server:
        proxy = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            if by == "variable":
                monkeypatch.setenv("http_proxy", proxy)
            else:
                settings["proxy"] = proxy
            file = tmp_path / "pip.conf"
            lines = [f"{name} = {value}\n" for name, value in settings.items()]
            file.write_text(f"[global]\n{''.join(lines)}")
            pip(CONFIG_FILE=str(file))
            assert "python/alpha.py" in contents(build_layer(handlers, cache).body)
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("CONSTRAINT", "alpha==2.0", "a constraint in pip's settings names another version"),
        ("TIMEOUT", "soon", "option timeout: invalid floating-point value: 'soon'"),
        ("CONFIG_FILE", "index-url = none", "File contains no section headers."),
    ],
)
def test_a_setting_of_pip_that_stands_in_the_way_is_told(
    option: str,
    value: str,
    told: str,
    handlers: Path,
    cache: Path,
    tmp_path: Path,
    pip: Callable[..., None],
) -> None:
    pin(handlers / "requirements.txt", installable(tmp_path, "alpha"))
    file = tmp_path / "file"
    file.write_text(f"{value}\n")
    given = value if option == "TIMEOUT" else str(file)
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path), **{option: given})
    message = refusal(handlers, cache)
    assert told in message
    assert ".." not in message


def test_pip_need_not_be_in_a_virtual_environment_to_download(
    handlers: Path,
    cache: Path,
    tmp_path: Path,
    pip: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pin(handlers / "requirements.txt", installable(tmp_path, "alpha"))
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nrequire-virtualenv = true\n")
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path), CONFIG_FILE=str(file))
    # The Python that this environment was made from, with this environment's pip.
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}"
    python, place = tmp_path / "python", sysconfig.get_path("purelib")
    python.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(place)} exec {base} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert "python/alpha.py" in contents(build_layer(handlers, cache).body)


# What is pinned.


def pinned() -> list[str]:
    """Return the requirements, each in one line."""
    text = (HANDLERS / "requirements.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pinned_versions() -> dict[str, str]:
    return dict(line.split()[0].split("==") for line in pinned())


def test_every_requirement_is_pinned_by_version_and_hash() -> None:
    assert pinned()
    for line in pinned():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*(\s+--hash=sha256:[0-9a-f]{64})+\s*", line)
    assert len(pinned_versions()) == len(pinned())


def test_the_tests_run_with_the_versions_that_are_deployed() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    extra = setup["options.extras_require"]["dev"].split("\n")
    tested = dict(line.split("==") for line in extra if "==" in line)
    both = set(tested) & set(pinned_versions())
    assert "aws-lambda-powertools" in both
    for name in both:
        assert tested[name] == pinned_versions()[name] == importlib.metadata.version(name)


def test_what_a_pinned_library_needs_is_pinned_too() -> None:
    # pip is told to take nothing but what is listed.
    needed = [
        requirement
        for name in pinned_versions()
        for requirement in importlib.metadata.requires(name) or []
        if "extra ==" not in requirement
    ]
    names = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in needed}
    assert names
    assert names <= set(pinned_versions())


def test_a_full_tmpdir_is_named_and_neither_network_nor_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        reason = os.strerror(errno.ENOSPC)
        told = f"ERROR: Could not install packages due to an OSError: [Errno 28] {reason}"
        return subprocess.CompletedProcess((), 2, told)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(PaymentInfraError) as refused:
        build_layer(cache=tmp_path / "cache")
    assert str(refused.value) == (
        f"{tmp_path}: cannot be used for temporary files (No space left on device); "
        "mend that, or name another folder in TMPDIR"
    )


def test_of_a_fault_in_pip_the_last_line_is_told(
    handlers: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = 'ERROR: Exception:\nTraceback (most recent call last):\n  File "x.py", line 1, in f\n'
    told += "ValueError: no such  thing.\n"
    done = subprocess.CompletedProcess((), 2, told)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert ": ValueError: no such thing. Check the network" in refusal(handlers, cache)


def test_of_a_library_that_has_wheels_for_platforms_too_the_pure_one_is_taken(
    handlers: Path, cache: Path, tmp_path: Path, pip: Callable[..., None]
) -> None:
    pure = installable(tmp_path, "alpha")
    tags = f"cp{sys.version_info.major}{sys.version_info.minor}-none-any"
    shutil.copyfile(pure, tmp_path / f"alpha-1.0-{tags}.whl")
    pin(handlers / "requirements.txt", pure)
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    assert "python/alpha.py" in contents(build_layer(handlers, cache).body)


def test_a_library_without_a_pure_wheel_is_named_with_that(
    handlers: Path, cache: Path, tmp_path: Path, pip: Callable[..., None]
) -> None:
    pure = installable(tmp_path, "alpha")
    pin(handlers / "requirements.txt", pure)
    tags = f"cp{sys.version_info.major}{sys.version_info.minor}-none-any"
    pure.rename(tmp_path / f"alpha-1.0-{tags}.whl")
    pip(NO_INDEX="1", FIND_LINKS=str(tmp_path))
    message = refusal(handlers, cache)
    assert "No matching distribution found for alpha==1.0 in pure Python" in message


def test_a_wheel_with_a_file_outside_of_it_is_refused(handlers: Path, cache: Path) -> None:
    for path in ("../evil.py", "/evil.py"):
        with pytest.raises(PaymentInfraError, match=r"alpha-1\.0.* has a file outside of it"):
            build_layer(handlers, cache, FakeDownload({ALPHA: {path: ""}}))
    assert not cache.exists()
