"""The rules for the identifiers, tokens and addresses that callers send."""

from __future__ import annotations

import re
import unicodedata

MAX_IDENTIFIER_CHARACTERS = 128
MAX_TOKEN_CHARACTERS = 255
MAX_REFERENCE_CHARACTERS = 64
MAX_URL_CHARACTERS = 2048
# A host, a port, and then whatever a URL may hold (RFC 3986, appendix A); the OpenAPI document has
# the same.
HTTPS_URL = re.compile(
    r"^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
    r"([/?#][!#-;=?-Z\[\]_a-z~]*)?$",
    re.ASCII,
)
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
    return _name("customer_id", value, MAX_IDENTIFIER_CHARACTERS)


def parse_transaction_id(value: object) -> str:
    """Return a transaction id: 1 to 128 visible ASCII characters (0x21 to 0x7E).

    Raises InvalidField otherwise.
    """
    return _visible("transaction_id", value, MAX_IDENTIFIER_CHARACTERS)


def parse_payment_method(value: object) -> str:
    """Return the gateway's token of a payment method: 1 to 255 visible ASCII characters.

    Nothing else is known of it. Raises InvalidField otherwise.
    """
    return _visible("payment_method", value, MAX_TOKEN_CHARACTERS)


def parse_reference(value: object) -> str:
    """Return the merchant's own reference: 1 to 64 characters, not blank, no control characters.

    Raises InvalidField otherwise.
    """
    return _name("reference", value, MAX_REFERENCE_CHARACTERS)


def parse_return_url(value: object) -> str:
    """Return where a customer is sent back to: an https URL (RFC 3986) of at most 2,048 characters,
    with a name of a host, and without a user in it.

    Raises InvalidField otherwise.
    """
    url = _visible("return_url", value, MAX_URL_CHARACTERS)
    if not HTTPS_URL.fullmatch(url):
        raise InvalidField("return_url", "The return_url must be an https URL")
    return url


def _name(field: str, value: object, most: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidField(field, f"The {field} must be a string that is not blank")
    if len(value) > most:
        raise InvalidField(field, f"The {field} is over {most} characters")
    if any(unicodedata.category(character) in _CONTROL_OR_SURROGATE for character in value):
        raise InvalidField(field, f"The {field} must not hold control characters")
    return value


def _visible(field: str, value: object, most: int) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= most
        or not all("!" <= character <= "~" for character in value)
    ):
        raise InvalidField(
            field, f"The {field} must be a string of 1 to {most} visible ASCII characters"
        )
    return value
