"""The shell blocks of the documents that are marked as runnable, run as they stand.

Each page is run at a terminal, in a fresh home folder beside the templates, with "y" for every
question, against an embedded AWS of its own.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from payment_infra.local.emulator import Emulator, emulator
from tests.documents import RUNNABLE, Page, pages
from tests.e2e.conftest import Deploy
from tests.e2e.harness import REPOSITORY, Deployed, aws_variables, clean_environment
from tests.e2e.terminal import at_terminal

PAGES = {
    page.name: page
    for page in pages()
    if any(block.info == RUNNABLE for block in page.blocks)
}
# Those that begin with nothing, since they deploy themselves or call no AWS.
ALONE = {"README.md", "docs/configuration.md", "docs/deploying.md"}
ANSWERS = "y\n" * 20
# The embedded AWS answers at its own address only, where AWS has a name for every API.
CURL = """#!/bin/sh
for word do
  shift
  set -- "$@" "$(printf %s "$word" | sed -E \\
    "s#^https://([a-z0-9]+)\\.execute-api\\.[a-z0-9-]+\\.amazonaws\\.com/#$AWS_ENDPOINT_URL/_aws/execute-api/\\1/#")"
done
exec /usr/bin/env -S curl --fail-with-body --silent --show-error "$@"
"""
