"""`make bench`: the time that things take, each as a ratio to a yardstick in the same run.

It is CPU time, but for the deployments, which mostly wait.

The two sides run in turn, so that a machine whose speed drifts slows both; what counts is the ratio
of their medians. The exit status is 1 if a ratio or a size is over its limit, or if a request makes
other AWS calls than it should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import figures, processes

if TYPE_CHECKING:
    from tests.bench.warm import Comparison


def main() -> None:
    """Run every comparison, print it, and exit."""
    print(
        f"CPU time, medians of {processes.ROUNDS} rounds; peak memory at most"
        f" {processes.RENDER_MEMORY_MEBIBYTES:.0f} MiB where the template is rendered"
    )
    print(figures.HEADER)
    within = []
    for one in processes.COMPARISONS:
        figure = processes.compare(one)
        print(figure, flush=True)
        within.append(figure.within)

    # A process starts with the peak memory of its parent, so botocore comes in after the others.
    from tests.bench import warm

    requests = []
    for comparison in warm.compare_all():
        print(comparison.figure, flush=True)
        within.append(comparison.figure.within)
        requests.append(comparison)
    from tests.bench import deployments

    for figure in deployments.compare_all():
        print(figure, flush=True)
        within.append(figure.within)
    print(f"a warm call: medians of {warm.ROUNDS} batches of {warm.CALLS}")
    for comparison in requests:
        print(_calls(comparison))
        within.append(comparison.calls_as_expected)
    grows = [one.request.name for one in requests if not one.independent_of_table_size]
    within.append(not grows)
    if grows:
        print(
            f"not the same for 1,000 items as for 1,000,000 in the table: {', '.join(grows)}  OVER"
        )
    else:
        print(
            "the same for 1,000 items as for 1,000,000 in the table: a call takes one item by its"
            " key, none is a Scan or a Query"
        )
    raise SystemExit(0 if all(within) else 1)


def _calls(one: Comparison) -> str:
    name = f"AWS calls of one {one.request.name}: {len(one.operations)}"
    beside = f"a {one.request.beside}'s" if one.request.beside else "the yardstick's"
    yardstick = f"{beside} {len(one.yardstick_operations)}"
    wanted = (*one.request.operations, *one.request.at_stripe)
    within = "ok" if one.calls_as_expected else f"OVER, want {', '.join(wanted)}"
    at_stripe = f", and {len(one.at_stripe)} to Stripe ({', '.join(one.at_stripe)})"
    beyond = at_stripe if one.at_stripe else ""
    return f"{name} ({', '.join(one.operations)}){beyond}, {yardstick}  {within}"


if __name__ == "__main__":
    main()
