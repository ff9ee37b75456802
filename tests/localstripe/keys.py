"""Idempotency keys, as Stripe has them ("Idempotent requests", "Advanced error handling")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from tests.localstripe import answers
from tests.localstripe.answers import Answer, Refused

# "You can remove keys from the system automatically after they're at least 24 hours old."
RETENTION = timedelta(hours=24)
REPLAYED = {"Idempotent-Replayed": "true"}


@dataclass
class _Use:
    """What a key came with; without an answer, while the call goes on."""

    path: str
    parameters: Mapping[str, str]
    moment: datetime
    answer: Answer | None = None


@dataclass
class Keys:
    """The keys that came, and what was answered."""

    _uses: dict[str, _Use] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answered(
        self,
        key: str,
        path: str,
        parameters: Mapping[str, str],
        now: datetime,
        carry_out: Callable[[], Answer],
    ) -> Answer:
        """Return what is stored with a key, or else what a call comes to, and store that."""
        use = _Use(path, parameters, now)
        with self._lock:
            known = self._uses.get(key)
            if known and now - known.moment < RETENTION:
                return _again(known, path, parameters)
            self._uses[key] = use
        try:
            answer = carry_out()
        except Refused as refused:
            answer = refused.answer
        with self._lock:
            if answer.stored:
                use.answer = answer
            else:
                del self._uses[key]
        return answer


def _again(known: _Use, path: str, parameters: Mapping[str, str]) -> Answer:
    if (known.path, known.parameters) != (path, parameters):
        return answers.reused()
    if known.answer is None:
        return answers.in_use()
    told = known.answer
    return Answer(told.status, told.body, {**told.headers, **REPLAYED})
