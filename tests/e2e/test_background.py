"""Work that goes on behind a response: reserved until the provider tells its usage, charged once, to the digit."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.agents import run_agent
from support.product import Product, base_environment, client, eventually
from support.providers import Providers

pytestmark = pytest.mark.sdk


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("response", {"states": ["in_progress", "completed", "completed"]}),
        ("file", {"states": ["validating", "in_progress", "completed", "completed"]}),
        ("batch", {"results": 600}),
    ],
)
def test_it_is_charged_once_its_usage_is_told(
    product: Product, providers: Providers, kind: str, told: dict[str, object]
) -> None:
    agent = product.agent(f"behind-{kind}", cap_usd="20")
    running = subprocess.Popen(
        [*client("background.py"), kind],
        env=base_environment(product.home) | agent.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        begun = running.stdout.readline()
        assert json.loads(begun)["status"] in ("queued", "in_progress", "validating")
        calls = 2 if kind == "file" else 1
        eventually(lambda: len(product.log(kind="result", agent=agent.name)) == calls, "the result of what began it")
        spend = product.spend(agent.name)
        assert spend["settled_usd"] == 0
        assert spend["reserved_usd"] * 1e9 >= providers.bill.total_nano() > 0
        rest, _ = running.communicate("go on\n", timeout=60)
    finally:
        running.kill()
    assert json.loads(rest) == told
    eventually(lambda: product.spend(agent.name)["reserved_usd"] == 0, "the charge")
    assert round(product.spend(agent.name)["settled_usd"] * 1e9) == providers.bill.total_nano()
    assert len(product.log(kind="adjust", agent=agent.name)) == 1


def test_a_stranger_who_asks_pays_nothing(product: Product, providers: Providers) -> None:
    code = "import openai; r = openai.OpenAI(api_key='x').responses"
    code += "; a = r.create(model='gpt-4.1-mini', input='hi', max_output_tokens=500, background=True)"
    code += "; print([r.retrieve(a.id).status for _ in range(int(%d))])"
    begun = product.agent("beginner", cap_usd="1")
    run_agent(product, begun, [client("x")[0], "-c", code % 0])
    name = next(record["response_id"] for record in product.log(kind="result", agent="beginner"))
    asks = f"import openai; r = openai.OpenAI(api_key='x').responses; [r.retrieve({name!r}) for _ in range(2)]"
    run_agent(product, product.agent("stranger", cap_usd="1"), [client("x")[0], "-c", asks + "; print(1)"])
    eventually(lambda: product.spend("beginner")["settled_usd"] > 0, "the charge")
    assert round(product.spend("beginner")["settled_usd"] * 1e9) == providers.bill.total_nano()
    assert product.spend("stranger")["settled_usd"] == 0


def test_a_batch_of_a_file_that_the_agent_did_not_upload_is_refused(product: Product, providers: Providers) -> None:
    upload = "import json, openai; c = openai.OpenAI(api_key='x'); b = {'model': 'gpt-4.1-mini', 'max_tokens': 9,"
    upload += " 'messages': []}; l = {'custom_id': '1', 'method': 'POST', 'url': '/v1/chat/completions', 'body': b}"
    upload += "; print(json.dumps(c.files.create(file=('b', json.dumps(l).encode()), purpose='batch').id))"
    (file_id,) = run_agent(product, product.agent("uploader", cap_usd="1"), [client("x")[0], "-c", upload])
    begin = f"""
import json, openai
try:
    openai.OpenAI(api_key='x').batches.create(
        input_file_id={file_id!r}, endpoint='/v1/chat/completions', completion_window='24h')
    print(json.dumps('begun'))
except openai.PermissionDeniedError as error:
    print(json.dumps(error.response.json()['error']['message']))
"""
    (told,) = run_agent(product, product.agent("thief", cap_usd="1"), [client("x")[0], "-c", begin])
    assert "Upload its file through Douane" in told
    assert providers.stand_in.seen("POST", "/v1/batches") == []
    (told,) = run_agent(product, product.agent("uploader"), [client("x")[0], "-c", begin])
    assert told == "begun"
