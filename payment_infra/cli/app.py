"""What the commands share in one run: how to reach AWS. A test passes its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from payment_infra.cloud.sdk.session import Session


def _connect(profile: str | None, region: str | None, endpoint_url: str | None) -> Session:
    from payment_infra.cloud.sdk.session import Session

    return Session.open(profile, region, endpoint_url)


class App:
    """The object of click's context."""

    def __init__(
        self, connect: Callable[[str | None, str | None, str | None], Session] = _connect
    ) -> None:
        self.connect = connect
