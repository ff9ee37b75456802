"""A line of the table: what something takes, beside its yardstick."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

HEADER = f"{'':<48} {'ms':>6} {'ms':>6} {'ratio':>6} {'spread':<11} {'limit':>5} {'MiB':>6}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The CPU seconds of each round, ours and the yardstick's, and the ratio that is allowed.

    What counts is the ratio of the medians; the spread is that of the rounds' ratios. Memory is
    the peak in MiB, for a whole process.
    """

    name: str
    ours: list[float]
    yardstick: list[float]
    limit: float
    memory: float | None = None
    memory_limit: float | None = None

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.yardstick)

    @property
    def within(self) -> bool:
        """Whether the figure keeps to its limits."""
        too_large = self.memory and self.memory_limit and self.memory > self.memory_limit
        return self.ratio <= self.limit and not too_large

    def __str__(self) -> str:
        ratios = sorted(a / b for a, b in zip(self.ours, self.yardstick, strict=True))
        memory = "" if self.memory is None else f"{self.memory:.1f}"
        return (
            f"{self.name:<48} {_milliseconds(self.ours)} {_milliseconds(self.yardstick)}"
            f" {self.ratio:6.2f} {ratios[0]:5.2f}-{ratios[-1]:<5.2f} {self.limit:5.2f} {memory:>6}"
            f"  {'ok' if self.within else 'OVER'}"
        )


def _milliseconds(rounds: list[float]) -> str:
    value = median(rounds) * 1000
    return f"{value:6.0f}" if value >= 10 else f"{value:6.3f}"
