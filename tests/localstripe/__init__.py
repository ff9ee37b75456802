"""Stripe on this machine, for tests: localstripe, and what it lacks.

`localstripe` 1.15.10 is a server that others wrote: it keeps PaymentIntents, their states and their
charges. It is GPL-3, so it is never imported here: it runs as a process of its own (`process.py`),
from an environment that the Makefile makes. Looked at on 2026-11-26, and why not: stripe-mock
(Stripe's own) keeps nothing, "its responses are completely hardcoded" by its README;
seahaven-stripe-world 0.3.0 needs Python 3.14; emulate (Vercel) and stripe-stateful-mock 0.0.16 need
Node; fancy-stripe 0.3.5 is, by its own description, a client with a faker, and no server.

The layer before it is written from Stripe's documentation, and not from Stripe, which alone can
say how it behaves. It adds

- idempotency keys: the answer to a key is stored once the call was carried out, failures too; other
  parameters are a 400 `idempotency_error`, a key that is in use a 409; forgotten after 24 hours
  ("Idempotent requests", "Advanced error handling")
- refusals of a key that is rotated, 429 and other faults at any call (`faults.py`; "Error codes",
  "Rate limits")
- `GET /v1/account`; lists that are filtered by `created`, the newest first, a hundred at most
  ("Pagination", "List all PaymentIntents")
- the test methods of payment by their names ("Testing", "ACH Direct Debit": `methods.py`), a page
  where "the customer" authenticates, and a bank's word, days later
- notifications, which are kept for the test to deliver, or sent ("Receive Stripe events in your
  webhook endpoint")

and does otherwise than localstripe where that is not as Stripe says:

- errors have Stripe's type, code and, of a payment, the object ("Errors"): localstripe says "Bad
  request" and "Not Found"
- the objects have what Stripe's have of late ("The PaymentIntent object"): the charge's id in place
  of the charge, no method after a failure, a reason in `last_payment_error`; `created` by the
  clock of the test, and `livemode` as it wishes
- a list is of what localstripe has said of each payment last: its own takes a second for a hundred
- parameters that localstripe takes for errors are taken (`return_url`, `automatic_payment_methods`)
- a declined card is one that localstripe declines when it is charged: 4000000000000002 is not
- a bank debit is a card there that nobody has confirmed: localstripe settles its debits within half
  a second of real time, and a bank takes days
- localstripe writes all it has into one file of the machine at each call: it is kept from that, and
  from listening to others than 127.0.0.1
"""
