"""OpenAI and Anthropic as they answer, with a bill of their own that the product's figures are held against."""

from __future__ import annotations

import base64
import struct

import orjson

from support.bill import NANO_PER_TOKEN, Bill
from support.realtime import Realtime
from support.stand_in import Exchange

PADDING = "x" * 65_536
"""As often as a request's `metadata.padding` says, before the words of a stream."""
EVENT_STREAM = (("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache"))

WORDS = tuple(f"word{number} " for number in range(8))


class OpenAI:
    """`api.openai.com`: chat completions and responses, plain and streamed, embeddings, and the list of models."""

    def __init__(self, bill: Bill) -> None:
        self.bill = bill
        self.realtime = Realtime(bill)
        self._behind: dict[str, list[dict[str, object]]] = {}
        """What background responses and batches answer when they are asked after, the last again and again."""
        self._files: dict[str, list[str]] = {}
        """The models of the requests of each uploaded file."""

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        if seen.path == "/v1/realtime" and seen.header("upgrade"):
            await self.realtime(exchange)
        elif seen.path.rpartition("/")[2] in self._behind:
            answers = self._behind[seen.path.rpartition("/")[2]]
            await exchange.json(200, answers.pop(0) if len(answers) > 1 else answers[0])
        elif seen.path == "/v1/files" and seen.method == "POST":
            await self._upload(exchange)
        elif seen.path == "/v1/batches" and seen.method == "POST":
            await self._batch(exchange)
        elif seen.path == "/v1/models":
            models = [{"id": name, "object": "model", "owned_by": "openai"} for name in NANO_PER_TOKEN]
            await exchange.json(200, {"object": "list", "data": models})
        elif seen.path == "/v1/chat/completions" and seen.method == "POST":
            await self._chat(exchange)
        elif seen.path == "/v1/responses" and seen.method == "POST":
            await self._responses(exchange)
        elif seen.path == "/v1/embeddings" and seen.method == "POST":
            await self._embeddings(exchange)
        else:
            await exchange.json(404, {"error": {"message": "Unknown request URL", "type": "invalid_request_error"}})

    async def _chat(self, exchange: Exchange) -> None:
        wanted = orjson.loads(exchange.seen.body)
        model = wanted["model"]
        await exchange.stand_in.pace.step()
        if exchange.fault is not None and exchange.fault.after_chunks < 0:
            await exchange.start(200, ())
        prompt, completion = self.bill.add(exchange.seen.header("authorization") or "", model)
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        common = {"id": f"chatcmpl-{self.bill.count()}", "created": 1_790_000_000, "model": model}
        if not wanted.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS), "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            await exchange.json(200, {**common, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        include_usage = bool((wanted.get("stream_options") or {}).get("include_usage"))
        common |= {"object": "chat.completion.chunk"}
        extra = {"usage": None} if include_usage else {}
        padding = [{"content": PADDING}] * int((wanted.get("metadata") or {}).get("padding", 0))
        deltas = [{"role": "assistant", "content": ""}, *padding, *({"content": word} for word in WORDS), {}]
        await exchange.start(200, EVENT_STREAM)
        for number, delta in enumerate(deltas):
            if number:
                await exchange.stand_in.pace.step()
            finish = "stop" if number == len(deltas) - 1 else None
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            await exchange.send(event({**common, "choices": [choice], **extra}))
        if include_usage:
            await exchange.send(event({**common, "choices": [], "usage": usage}))
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.finish()

    async def _upload(self, exchange: Exchange) -> None:
        body = exchange.seen.body
        lines = [line for line in body.split(b"\r\n\r\n")[-1].split(b"\r\n--")[0].split(b"\n") if line]
        name = f"file-{len(self._files)}"
        self._files[name] = [orjson.loads(line)["body"]["model"] for line in lines]
        told = {"id": name, "object": "file", "bytes": len(body), "created_at": 1_790_000_000, "filename": "b.jsonl"}
        await exchange.json(200, told | {"purpose": "batch", "status": "processed"})

    async def _batch(self, exchange: Exchange) -> None:
        """Bill all of it at half the price; two questions see it at work."""
        wanted = orjson.loads(exchange.seen.body)
        models = self._files[wanted["input_file_id"]]
        key = exchange.seen.header("authorization") or ""
        used = [self.bill.add(key, model, percent=50) for model in models]
        given, made = (sum(numbers) for numbers in zip(*used, strict=True))
        name = f"batch_{self.bill.count():032x}"
        counts = {"total": len(models), "completed": 0, "failed": 0}
        begun = {
            "id": name,
            "object": "batch",
            "endpoint": wanted["endpoint"],
            "completion_window": "24h",
            "created_at": 1_790_000_000,
            "input_file_id": wanted["input_file_id"],
            "output_file_id": None,
            "model": models[0],
            "status": "validating",
            "request_counts": counts | {"total": 0},
            "usage": None,
        }
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        }
        done = {"status": "completed", "request_counts": counts | {"completed": len(models)}, "usage": usage}
        self._behind[name] = [begun, begun | {"status": "in_progress", "request_counts": counts}, begun | done]
        await exchange.json(200, begun)

    async def _embeddings(self, exchange: Exchange) -> None:
        model = orjson.loads(exchange.seen.body)["model"]
        given, _ = self.bill.add(exchange.seen.header("authorization") or "", model)
        vector = base64.b64encode(struct.pack("<4f", 0.25, -0.5, 0.125, 1.0)).decode()  # as the client asks for it
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        usage = {"prompt_tokens": given, "total_tokens": given}
        await exchange.json(200, {"object": "list", "data": data, "model": model, "usage": usage})

    async def _responses(self, exchange: Exchange) -> None:
        wanted = orjson.loads(exchange.seen.body)
        model = wanted["model"]
        await exchange.stand_in.pace.step()
        given, made = self.bill.add(exchange.seen.header("authorization") or "", model)
        number = f"{self.bill.count():032x}"
        text = {"type": "output_text", "annotations": [], "logprobs": [], "text": "".join(WORDS)}
        item = {"id": f"msg_{number}", "type": "message", "status": "completed", "role": "assistant", "content": [text]}
        begun = {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 1_790_000_000,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": wanted.get("max_output_tokens"),
            "model": model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "auto",
            "store": True,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
            "user": None,
            "metadata": {},
        }
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        }
        done = {**begun, "status": "completed", "service_tier": "default", "output": [item], "usage": usage}
        if wanted.get("background"):
            self._behind[str(begun["id"])] = [begun | {"background": True}, done | {"background": True}]
            await exchange.json(200, begun | {"background": True, "status": "queued"})
            return
        if not wanted.get("stream"):
            await exchange.json(200, done)
            return
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        empty = {**text, "text": ""}
        events: list[tuple[str, dict[str, object]]] = [
            ("response.created", {"response": begun}),
            ("response.in_progress", {"response": begun}),
            (
                "response.output_item.added",
                {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
            ),
            ("response.content_part.added", {**at, "part": empty}),
            *(("response.output_text.delta", {**at, "delta": word, "logprobs": []}) for word in WORDS),
            ("response.output_text.done", {**at, "text": text["text"], "logprobs": []}),
            ("response.content_part.done", {**at, "part": text}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
            ("response.completed", {"response": done}),
        ]
        await exchange.start(200, EVENT_STREAM)
        for sequence, (name, data) in enumerate(events):
            if sequence:
                await exchange.stand_in.pace.step()
            told = {"type": name, "sequence_number": sequence, **data}
            await exchange.send(b"event: %b\n" % name.encode() + event(told))
        await exchange.finish()


class Anthropic:
    """`api.anthropic.com`: messages, plain, streamed and in batches, and the free count of tokens."""

    def __init__(self, bill: Bill) -> None:
        self.bill = bill
        self._batches: dict[str, bytes] = {}
        """The results of each batch."""

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        if seen.path == "/v1/messages/count_tokens":
            await exchange.json(200, {"input_tokens": 12})
        elif seen.path == "/v1/messages" and seen.method == "POST":
            await self._messages(exchange)
        elif seen.path == "/v1/messages/batches" and seen.method == "POST":
            await self._batch(exchange)
        elif seen.path.split("/")[-1] in self._batches:
            await exchange.json(200, self._told(seen.path.split("/")[-1], "ended"))
        elif seen.path.endswith("/results") and seen.path.split("/")[-2] in self._batches:
            await exchange.respond(200, self._batches[seen.path.split("/")[-2]], media_type="application/x-jsonl")
        else:
            error = {"type": "not_found_error", "message": "Not found"}
            await exchange.json(404, {"type": "error", "error": error})

    async def _batch(self, exchange: Exchange) -> None:
        lines = []
        for request in orjson.loads(exchange.seen.body)["requests"]:
            model = request["params"]["model"]
            given, made = self.bill.add(exchange.seen.header("x-api-key") or "", model, percent=50)
            usage = {"input_tokens": given, "output_tokens": made, "service_tier": "batch"}
            message = {"id": f"msg_{len(lines)}", "type": "message", "model": model, "content": [], "usage": usage}
            result = {"type": "succeeded", "message": message}
            lines.append(orjson.dumps({"custom_id": request["custom_id"], "result": result}) + b"\n")
        name = f"msgbatch_{self.bill.count():024d}"
        self._batches[name] = b"".join(lines)
        await exchange.json(200, self._told(name, "in_progress"))

    def _told(self, name: str, status: str) -> dict[str, object]:
        results = f"https://api.anthropic.com/v1/messages/batches/{name}/results" if status == "ended" else None
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        times = {"created_at": "2026-11-23T00:00:00Z", "expires_at": "2026-11-24T00:00:00Z", "ended_at": None}
        told = {"id": name, "type": "message_batch", "processing_status": status, "request_counts": counts}
        return told | times | {"results_url": results, "archived_at": None, "cancel_initiated_at": None}

    async def _messages(self, exchange: Exchange) -> None:
        wanted = orjson.loads(exchange.seen.body)
        model = wanted["model"]
        await exchange.stand_in.pace.step()
        if exchange.fault is not None and exchange.fault.after_chunks < 0:
            await exchange.start(200, ())
        given, made = self.bill.add(exchange.seen.header("x-api-key") or "", model)
        usage = {
            "input_tokens": given,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": made,
            "service_tier": "standard",
        }
        message = {
            "id": f"msg_{self.bill.count():024d}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "stop_reason": "end_turn",
            "stop_sequence": None,
        }
        if not wanted.get("stream"):
            content = [{"type": "text", "text": "".join(WORDS)}]
            await exchange.json(200, {**message, "content": content, "usage": usage})
            return
        opening = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        events: list[tuple[str, dict[str, object]]] = [
            ("message_start", {"message": opening}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            ("ping", {}),
            *(("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word}}) for word in WORDS),
            ("content_block_stop", {"index": 0}),
            (
                "message_delta",
                {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": made}},
            ),
            ("message_stop", {}),
        ]
        await exchange.start(200, EVENT_STREAM)
        for number, (name, data) in enumerate(events):
            if number:
                await exchange.stand_in.pace.step()
            await exchange.send(b"event: %b\n" % name.encode() + event({"type": name, **data}))
        await exchange.finish()


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
