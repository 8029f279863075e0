"""An agent with Stripe's client: a JSON list of [resource, verb, parameters] in, one JSON document a line out."""

import json
import os
import sys

import stripe

stripe.api_key = "sk_test_agent"
stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]  # Stripe's client ships its own authorities and reads no variable
resources = {"charges": stripe.Charge, "refunds": stripe.Refund, "payment_intents": stripe.PaymentIntent}
for resource, verb, parameters in json.loads(sys.argv[1]):
    try:
        made = getattr(resources[resource], verb)(**parameters)
        print(json.dumps({"id": made["id"]}), flush=True)
    except stripe.StripeError as error:
        body = error.json_body or {}
        print(
            json.dumps({"status": error.http_status, "error": type(error).__name__, "decision": body.get("decision")}),
            flush=True,
        )
