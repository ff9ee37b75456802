"""How Stripe counts money: which currencies it takes, and in which units.

The tables are those of Stripe's page "Supported currencies". What is no active code of ISO 4217
(ANG, BGN, STD) is left out, since no payment has it.
"""

from __future__ import annotations

_CODES_BY_DIGITS = {
    # "Zero-decimal currencies", but those of the special cases.
    0: "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF",
    # "Supported presentment currencies". ISK and UGX are "Special cases": they have no decimals,
    # and are counted in hundredths all the same. (HUF and TWD are special in payouts alone.)
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF
        CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF
        IDR ILS INR ISK JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR
        MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
        SEK SGD SHP SLE SOS SRD SZL THB TJS TOP TRY TTD TWD TZS UAH UGX USD UYU UZS WST XCD XCG YER
        ZAR ZMW
    """,
    # "Three-decimal currencies", of whose amounts the last digit has to be 0.
    3: "BHD JOD KWD OMR TND",
}
_DIGITS = {code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()}


def digits(currency: str) -> int | None:
    """Return in how many decimal digits Stripe counts a currency, None if it does not take it."""
    return _DIGITS.get(currency)


def step(currency: str) -> int:
    """Return what an amount has to be a multiple of, in Stripe's units."""
    return 10 if _DIGITS.get(currency) == 3 else 1
