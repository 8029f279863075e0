"""Google, Mistral, Groq, Cohere and Amazon Bedrock as they answer; each answer is a line of the same bill."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from urllib.parse import unquote

import orjson

from support.models import EVENT_STREAM, WORDS, Bill, event
from support.stand_in import Exchange

THOUGHTS = 200
"""Of Gemini's output tokens: never seen, and charged."""

_GEMINI = re.compile(r"/v1(?:beta)?/models/([^/:]+):(\w+)")
_BEDROCK = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream)")


class Gemini:
    """`generativelanguage.googleapis.com`: contents, plain, as events and as a growing array; embeddings."""

    def __init__(self, bill: Bill) -> None:
        self.bill = bill

    async def __call__(self, exchange: Exchange) -> None:
        found = _GEMINI.fullmatch(exchange.seen.path)
        if found is None:
            error = {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}
            await exchange.json(404, {"error": error})
            return
        model, verb = found.groups()
        await exchange.stand_in.pace.step()
        given, made = self.bill.add(exchange.seen.header("x-goog-api-key") or "", model)
        match verb:
            case "batchEmbedContents" | "embedContent":
                vector = {"values": [0.25, -0.5, 0.125, 1.0]}
                embedded = {"embeddings": [vector]} if verb == "batchEmbedContents" else {"embedding": vector}
                usage = {"promptTokenCount": given, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}]}
                await exchange.json(200, {**embedded, "usageMetadata": usage})
            case "generateContent":
                await exchange.json(200, self._answer(model, "".join(WORDS), given, made, finished=True))
            case _:
                await self._stream(exchange, model, given, made)

    async def _stream(self, exchange: Exchange, model: str, given: int, made: int) -> None:
        as_events = "alt=sse" in exchange.seen.target
        kind = (("Content-Type", "application/json; charset=UTF-8"),)
        await exchange.start(200, EVENT_STREAM if as_events else kind)
        for number, word in enumerate(WORDS):
            await exchange.stand_in.pace.step()
            last = number == len(WORDS) - 1
            answer = self._answer(model, word, given, made if last else THOUGHTS + number, finished=last)
            if as_events:
                await exchange.send(event(answer).replace(b"\n\n", b"\r\n\r\n"))
            else:
                await exchange.send((b",\r\n" if number else b"[") + orjson.dumps(answer, option=orjson.OPT_INDENT_2))
        if not as_events:
            await exchange.send(b"]")
        await exchange.finish()

    def _answer(self, model: str, text: str, given: int, made: int, *, finished: bool) -> dict[str, object]:
        candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        if finished:
            candidate["finishReason"] = "STOP"
        usage = {
            "promptTokenCount": given,
            "candidatesTokenCount": made - THOUGHTS,
            "totalTokenCount": given + made,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}],
            "thoughtsTokenCount": THOUGHTS,
            "serviceTier": "standard",
        }
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": model,
            "responseId": f"response-{self.bill.count()}",
        }


class ChatShape:
    """`api.mistral.ai` or `api.groq.com`: chat completions whose streams report their usage unasked; embeddings."""

    def __init__(self, bill: Bill, prefix: str, *, groq: bool) -> None:
        self.bill = bill
        self._prefix = prefix
        self._groq = groq

    async def __call__(self, exchange: Exchange) -> None:
        path = exchange.seen.path.removeprefix(self._prefix)
        wanted = orjson.loads(exchange.seen.body or b"{}")
        if path not in ("/chat/completions", "/embeddings") or "stream_options" in wanted:
            error = {"message": "Unknown", "type": "invalid_request_error", "code": "unknown"}
            await exchange.json(404 if "stream_options" not in wanted else 422, {"error": error})
            return
        model = wanted["model"]
        await exchange.stand_in.pace.step()
        given, made = self.bill.add(exchange.seen.header("authorization") or "", model)
        usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        answer = {"id": f"answer-{self.bill.count()}", "created": 1_790_000_000, "model": model}
        if path == "/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
            await exchange.json(
                200, {"id": answer["id"], "object": "list", "data": data, "model": model, "usage": usage}
            )
        elif not wanted.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS), "tool_calls": None}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            extra = {"x_groq": {"id": "req_1"}} if self._groq else {}
            await exchange.json(
                200, {**answer, "object": "chat.completion", "choices": [choice], "usage": usage, **extra}
            )
        else:
            await self._stream(exchange, answer, usage)

    async def _stream(self, exchange: Exchange, answer: dict[str, object], usage: dict[str, int]) -> None:
        """Mistral's last chunk has the `usage`; Groq's has it under `x_groq`."""
        deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS), {"content": ""}]
        await exchange.start(200, EVENT_STREAM)
        for number, delta in enumerate(deltas):
            if number:
                await exchange.stand_in.pace.step()
            last = number == len(deltas) - 1
            choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
            chunk = {**answer, "object": "chat.completion.chunk", "choices": [choice]}
            if last:
                chunk |= {"x_groq": {"id": "req_1", "usage": usage}} if self._groq else {"usage": usage}
            await exchange.send(event(chunk))
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.finish()


class Cohere:
    """`api.cohere.com`: the second version's chat, plain and streamed, and embeddings."""

    def __init__(self, bill: Bill) -> None:
        self.bill = bill

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        if seen.path not in ("/v2/chat", "/v2/embed"):
            await exchange.json(404, {"message": "not found"})
            return
        wanted = orjson.loads(seen.body)
        await exchange.stand_in.pace.step()
        given, made = self.bill.add(seen.header("authorization") or "", wanted["model"])
        number = f"00000000-0000-4000-8000-{self.bill.count():012d}"
        if seen.path == "/v2/embed":
            meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": given}}
            vectors = {"float": [[0.25, -0.5, 0.125, 1.0]]}
            await exchange.json(
                200,
                {
                    "id": number,
                    "embeddings": vectors,
                    "texts": wanted["texts"],
                    "meta": meta,
                    "response_type": "embeddings_by_type",
                },
            )
            return
        usage = {  # what was counted is more than what is billed
            "billed_units": {"input_tokens": given, "output_tokens": made},
            "tokens": {"input_tokens": given + 66, "output_tokens": made + 2},
            "cached_tokens": 0,
        }
        if not wanted.get("stream"):
            message = {"role": "assistant", "content": [{"type": "text", "text": "".join(WORDS)}]}
            await exchange.json(200, {"id": number, "message": message, "finish_reason": "COMPLETE", "usage": usage})
            return
        opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        events: list[dict[str, object]] = [
            {"id": number, "type": "message-start", "delta": {"message": opening}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            *(
                {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}}
                for word in WORDS
            ),
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
        ]
        await exchange.start(200, EVENT_STREAM)
        for at, told in enumerate(events):
            if at:
                await exchange.stand_in.pace.step()
            await exchange.send(b"event: %b\n" % str(told["type"]).encode() + event(told))
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.finish()


class Bedrock:
    """`bedrock-runtime.us-east-1.amazonaws.com`: Converse, and InvokeModel with the body of Anthropic's Messages."""

    def __init__(self, bill: Bill) -> None:
        self.bill = bill

    async def __call__(self, exchange: Exchange) -> None:
        found = _BEDROCK.fullmatch(exchange.seen.path)
        key = exchange.seen.header("authorization") or ""
        if found is None or not key.startswith("AWS4-HMAC-SHA256 "):
            await exchange.json(403, {"message": "The request signature we calculated does not match"})
            return
        model, verb = unquote(found[1]), found[2]
        await exchange.stand_in.pace.step()
        given, made = self.bill.add(key, model)
        match verb:
            case "converse":
                await exchange.json(
                    200,
                    {
                        "output": {"message": {"role": "assistant", "content": [{"text": "".join(WORDS)}]}},
                        "stopReason": "end_turn",
                        "usage": _bedrock_usage(given, made),
                        "metrics": {"latencyMs": 400},
                    },
                )
            case "converse-stream":
                await self._send(exchange, _converse_events(given, made))
            case "invoke":
                content = [{"type": "text", "text": "".join(WORDS)}]
                usage = {"input_tokens": given, "output_tokens": made}
                message = {**_claude(self.bill.count()), "content": content, "usage": usage}
                counts = (
                    ("X-Amzn-Bedrock-Input-Token-Count", str(given)),
                    ("X-Amzn-Bedrock-Output-Token-Count", str(made)),
                )
                await exchange.json(200, message, counts)
            case _:
                await self._send(exchange, _invoke_events(self.bill.count(), given, made))

    async def _send(self, exchange: Exchange, frames: list[tuple[str, dict[str, object]]]) -> None:
        await exchange.start(200, (("Content-Type", "application/vnd.amazon.eventstream"),))
        for number, (kind, payload) in enumerate(frames):
            if number:
                await exchange.stand_in.pace.step()
            await exchange.send(aws_message(kind, orjson.dumps(payload)))
        await exchange.finish()


def _bedrock_usage(given: int, made: int) -> dict[str, int]:
    return {
        "inputTokens": given,
        "outputTokens": made,
        "totalTokens": given + made,
        "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 0,
    }


def _converse_events(given: int, made: int) -> list[tuple[str, dict[str, object]]]:
    return [
        ("messageStart", {"role": "assistant", "p": "abcd"}),
        *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}, "p": "ab"}) for word in WORDS),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": _bedrock_usage(given, made), "metrics": {"latencyMs": 400}}),
    ]


def _claude(number: int) -> dict[str, object]:
    return {
        "id": f"msg_bdrk_{number:024d}",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }


def _invoke_events(number: int, given: int, made: int) -> list[tuple[str, dict[str, object]]]:
    """Anthropic's own events in Bedrock's frames; the last one has Bedrock's counts too."""
    opening = {
        **_claude(number),
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": given, "cache_read_input_tokens": 0, "output_tokens": 1},
    }
    metrics = {"inputTokenCount": given, "outputTokenCount": made, "invocationLatency": 400, "firstByteLatency": 90}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": made}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics},
    ]
    return [("chunk", {"bytes": base64.b64encode(orjson.dumps(told)).decode(), "p": "abc"}) for told in events]


def aws_message(kind: str, payload: bytes) -> bytes:
    """One message of `application/vnd.amazon.eventstream` with its checksums (smithy.io, Amazon Event Stream)."""
    heads = ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event"))
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in heads
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))
