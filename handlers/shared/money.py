"""Money: exact decimal amounts in the currencies of ISO 4217."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from handlers.shared.fields import InvalidField

MAX_MINOR_UNITS = 999_999_999_999

# ISO 4217 "List One: Current currency & funds code list", published 2026-01-01: the active codes
# that have minor units, by their number of digits. Left out are the codes the list marks as funds
# (BOV, CHE, CHW, CLF, COU, MXV, USN, UYI), and those whose minor units are "N.A." (metals, XDR,
# XSU, XUA, XTS, XXX).
_CODES_BY_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
        CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
        GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL
        MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN
        PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
        SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW
        ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "UYW",
}
MINOR_DIGITS = {
    code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()
}


@dataclass(frozen=True)
class Money:
    """A positive amount, in minor units (cents for USD, yen for JPY), and its currency."""

    minor_units: int
    currency: str

    @property
    def amount(self) -> str:
        """The decimal amount with as many digits as the currency has: "100.50", "100"."""
        return str(Decimal(self.minor_units).scaleb(-MINOR_DIGITS[self.currency]))

    def units(self, digits: int) -> int:
        """Return the amount in the units of somebody who counts the currency in so many digits.

        Raises InvalidField if they cannot hold it.
        """
        exact = Decimal(self.minor_units).scaleb(digits - MINOR_DIGITS[self.currency])
        if exact != int(exact):
            raise InvalidField(
                "amount", f"Amount must have at most {digits} decimals at the payment gateway"
            )
        return int(exact)

    @classmethod
    def parse(cls, amount: object, currency: object) -> Money:
        """Return the money that a request names.

        amount is what the JSON parser made of a number, hence a Decimal; it is judged by its
        value, so that 100.500 USD is 100.50 USD. currency is an upper-case alphabetic code.

        Raises InvalidField for an amount that is not a positive number, has more decimals than
        the currency or exceeds MAX_MINOR_UNITS, and for a currency outside MINOR_DIGITS.
        """
        if not isinstance(amount, Decimal) or not amount.is_finite() or amount <= 0:
            raise InvalidField("amount", "Amount must be a positive number")
        if not isinstance(currency, str) or currency not in MINOR_DIGITS:
            raise InvalidField(
                "currency", "Currency must be an active ISO 4217 code in upper case, such as USD"
            )
        return cls(_minor_units(amount, MINOR_DIGITS[currency]), currency)


def _minor_units(amount: Decimal, digits: int) -> int:
    # Bounded before it is rounded: quantize() cannot hold more digits than its context has.
    if amount <= MAX_MINOR_UNITS:
        rounded = amount.quantize(Decimal(1).scaleb(-digits))
        if rounded != amount:
            raise InvalidField("amount", f"Amount must have at most {digits} decimals")
        minor_units = int(rounded.scaleb(digits))
        if minor_units <= MAX_MINOR_UNITS:
            return minor_units
    raise InvalidField("amount", f"Amount must not exceed {MAX_MINOR_UNITS} minor units")
