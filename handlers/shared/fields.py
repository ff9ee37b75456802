"""The rules for the identifiers that callers send."""

from __future__ import annotations

import unicodedata

MAX_IDENTIFIER_CHARACTERS = 128
_CONTROL_OR_SURROGATE = frozenset({"Cc", "Cs"})


class InvalidField(ValueError):
    """A value that the rules of its field refuse; the text says which rule, never the value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_customer_id(value: object) -> str:
    """Return a customer id: 1 to 128 characters, not blank, no control characters.

    The categories are those of the Unicode Standard, "General Category Values". Surrogates (Cs)
    are refused with the control characters (Cc), since UTF-8 cannot encode them.

    Raises InvalidField otherwise.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidField("customer_id", "The customer_id must be a string that is not blank")
    if len(value) > MAX_IDENTIFIER_CHARACTERS:
        raise InvalidField(
            "customer_id", f"The customer_id is over {MAX_IDENTIFIER_CHARACTERS} characters"
        )
    if any(unicodedata.category(character) in _CONTROL_OR_SURROGATE for character in value):
        raise InvalidField("customer_id", "The customer_id must not hold control characters")
    return value


def parse_transaction_id(value: object) -> str:
    """Return a transaction id: 1 to 128 visible ASCII characters (0x21 to 0x7E).

    Raises InvalidField otherwise.
    """
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= MAX_IDENTIFIER_CHARACTERS
        or not all("!" <= character <= "~" for character in value)
    ):
        raise InvalidField(
            "transaction_id",
            "The transaction_id must be a string of 1 to"
            f" {MAX_IDENTIFIER_CHARACTERS} visible ASCII characters",
        )
    return value
