"""What can go wrong, in words for the person at the terminal, each with its exit code."""


class PaymentInfraError(Exception):
    """One line that says what failed, where, and what to do next."""

    exit_code = 1


class UsageError(PaymentInfraError):
    """The caller asked for something that cannot be: a flag, a variable, a file's content."""

    exit_code = 2


class AwsError(PaymentInfraError):
    """A call to AWS failed: credentials, network, permissions, a missing or foreign resource."""


class DeploymentFailed(PaymentInfraError):
    """The change set could not be made, or its execution failed or was rolled back."""

    exit_code = 3


class Declined(PaymentInfraError):
    """The person answered no."""

    exit_code = 130
