"""What can go wrong, in words for the person at the terminal, each with its exit code."""


class PaymentInfraError(Exception):
    """One line that says what failed, where, and what to do next."""

    exit_code = 1


class UsageError(PaymentInfraError):
    """The caller asked for something that cannot be: a flag, a variable, a file's content."""

    exit_code = 2


class UnknownRegion(UsageError):
    """The SDK knows no region of this name."""


class AwsError(PaymentInfraError):
    """A call to AWS failed: credentials, network, permissions, a missing or foreign resource."""


class UnknownProfile(AwsError):
    """The AWS configuration has no profile of this name."""


class Interrupted(PaymentInfraError):
    """Ctrl-C, or a signal like it, while AWS continues by itself.

    Says how to see it and how to stop it.
    """

    exit_code = 130


class Declined(PaymentInfraError):
    """The person answered no."""

    exit_code = 130


def by_ctrl_c(error: BaseException) -> bool:
    """Whether Ctrl-C ends a block, and no fault or answer that has a line of its own."""
    return isinstance(error, Interrupted) or not isinstance(error, PaymentInfraError)
