"""What the commands draw, and how they ask: text for a person, JSON for a program.

`output` prints and asks; `terminal` shows an operation on a stack while it lasts, as `progress`
draws it in a terminal, within the bounds of `drawing`, or as `ndjson` writes it. `preview` is what
would change, `operation` what is known of one in progress, `destruction` what a deletion takes.
`status`, `metrics`, `drift`, `logs`, `failed`, `payment`, `reconciliation` and `doctor` draw what
the command shows, with the pieces of `text`.
"""
