"""Deployments to the embedded AWS, in turn with those of the AWS CLI, in seconds of wall time.

Both deploy the same template with the same zips in the same bucket, each its own stacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from payment_infra.local.emulator import emulator
from payment_infra.local.isolation import ACCESS_KEY
from payment_infra.local.stack import open_session
from tests.bench.figures import Figure

ROUNDS = 15
UNCHANGED_LIMIT = 0.8
FIRST_LIMIT = 1.2
BUCKET = "bench-zips"
PROGRAMS = Path(sys.executable).parent


def compare_all() -> Iterator[Figure]:
    """Compare first deployments, then deployments that change nothing."""
    with emulator() as running, tempfile.TemporaryDirectory() as name:
        open_session(running).client("s3").create_bucket(Bucket=BUCKET)
        sides = Sides(Path(name), running.url)
        sides.upload()
        firsts = [(sides.ours(f"a-{n}"), sides.theirs(f"b-{n}")) for n in range(ROUNDS)]
        yield _figure("a first deployment / the AWS CLI's", firsts, FIRST_LIMIT)
        # A stack each: the AWS CLI names its change sets by the second.
        again = [(sides.ours(f"a-{n}"), sides.theirs(f"b-{n}")) for n in range(ROUNDS)]
        yield _figure("an unchanged deployment / the AWS CLI's", again, UNCHANGED_LIMIT)


class Sides:
    """The two programs, and how long each takes to deploy a stack."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._environment = {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.defpath}",
            "HOME": str(folder),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def upload(self) -> None:
        """Put the zips into the bucket, and the template where the AWS CLI finds it."""
        self._time("payment-infra", "upload", "--suffix", "bench", "--bucket", BUCKET)
        self._time("payment-infra", "render", "-o", "template.yaml")

    def ours(self, suffix: str) -> float:
        """Return the seconds that payment-infra takes."""
        return self._time(
            "payment-infra", "deploy", "--suffix", suffix, "--bucket", BUCKET, "--yes"
        )

    def theirs(self, suffix: str) -> float:
        """Return the seconds that the AWS CLI takes."""
        return self._time(
            *("aws", "cloudformation", "deploy", "--template-file", "template.yaml"),
            *("--stack-name", f"payment-infra-{suffix}", "--capabilities", "CAPABILITY_IAM"),
            "--no-fail-on-empty-changeset",
            *("--parameter-overrides", f"EnvironmentSuffix={suffix}", f"ArtifactBucket={BUCKET}"),
        )

    def _time(self, program: str, *arguments: str) -> float:
        start = time.perf_counter()
        done = subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{program} {' '.join(arguments)}: {done.stderr}")
        return time.perf_counter() - start


def _figure(name: str, rounds: list[tuple[float, float]], limit: float) -> Figure:
    return Figure(
        name=name,
        ours=[ours for ours, _ in rounds],
        yardstick=[theirs for _, theirs in rounds],
        limit=limit,
    )
