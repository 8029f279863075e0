"""AWS, Google Drive, a Kubernetes API server and Slack, in the shapes that their documentation gives their answers."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from support.stand_in import Exchange, Provider

REGION = "eu-west-1"
BUCKET = "acme-backups"
CLUSTER = "k8s.corp.example"
"""The host of the API server: private, so that only an operator's overlay says what it is."""


class S3:
    """One bucket, by its own host: objects that can be listed and deleted."""

    host = f"{BUCKET}.s3.{REGION}.amazonaws.com"

    def __init__(self) -> None:
        self.objects: set[str] = set()

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        key = unquote(seen.path).removeprefix("/")
        if seen.method == "DELETE" and key:
            self.objects.discard(key)  # of a key that is not there S3 says the same
            await exchange.respond(204)
        elif seen.method == "GET" and not key:
            await _xml(exchange, self._listing(dict(parse_qsl(seen.target.partition("?")[2])).get("prefix", "")))
        else:
            await _xml(exchange, "<Error><Code>NotImplemented</Code></Error>", 501)

    def _listing(self, prefix: str) -> str:
        found = sorted(key for key in self.objects if key.startswith(prefix))
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-11-20T10:00:00.000Z</LastModified><Size>7</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in found
        )
        return (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(found)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<Delimiter>/</Delimiter><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        )


class EC2:
    """Instances that can be described and terminated."""

    host = f"ec2.{REGION}.amazonaws.com"

    def __init__(self) -> None:
        self.running: set[str] = set()

    async def __call__(self, exchange: Exchange) -> None:
        form = dict(parse_qsl(exchange.seen.body.decode()))
        match form.get("Action"):
            case "DescribeInstances":
                items = "".join(
                    f"<item><instanceId>{name}</instanceId><instanceState><code>16</code><name>running</name>"
                    "</instanceState></item>"
                    for name in sorted(self.running)
                )
                reservation = f"<item><reservationId>r-1</reservationId><instancesSet>{items}</instancesSet></item>"
                answer = f"<reservationSet>{reservation}</reservationSet>"
            case "TerminateInstances":
                name = form["InstanceId.1"]
                self.running.discard(name)
                answer = (
                    f"<instancesSet><item><instanceId>{name}</instanceId>"
                    "<currentState><code>32</code><name>shutting-down</name></currentState>"
                    "<previousState><code>16</code><name>running</name></previousState></item></instancesSet>"
                )
            case action:
                await _xml(exchange, f"<Response><Errors><Error><Code>{action}</Code></Error></Errors></Response>", 400)
                return
        tag = f"{form['Action']}Response"
        namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
        await _xml(exchange, f'<{tag} xmlns="{namespace}"><requestId>r</requestId>{answer}</{tag}>')


class Drive:
    """Files that can be looked at and deleted."""

    host = "www.googleapis.com"

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        name = seen.path.removeprefix("/drive/v3/files/")
        if name not in self.files:
            await exchange.json(404, {"error": {"code": 404, "message": f"File not found: {name}."}})
        elif seen.method == "DELETE":
            del self.files[name]
            await exchange.respond(204)
        else:
            await exchange.json(200, {"kind": "drive#file", "id": name, "name": self.files[name]})


class ApiServer:
    """Kubernetes' namespaces."""

    host = CLUSTER

    def __init__(self) -> None:
        self.namespaces: set[str] = set()

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        name = seen.path.removeprefix("/api/v1/namespaces/")
        if name not in self.namespaces:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            await exchange.json(404, status)
        elif seen.method == "DELETE":
            self.namespaces.discard(name)
            await exchange.json(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})
        else:
            found = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
            await exchange.json(200, found | {"status": {"phase": "Active"}})


class Slack:
    """A channel's messages."""

    host = "slack.com"

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        form = dict(parse_qsl(seen.body.decode())) | dict(parse_qsl(seen.target.partition("?")[2]))
        match seen.path:
            case "/api/conversations.history":
                messages = [{"type": "message", "ts": ts, "text": text} for ts, text in self.messages.items()]
                await exchange.json(200, {"ok": True, "messages": messages, "has_more": False})
            case "/api/chat.delete" if form["ts"] in self.messages:
                del self.messages[form["ts"]]
                await exchange.json(200, {"ok": True, "channel": form["channel"], "ts": form["ts"]})
            case _:
                await exchange.json(200, {"ok": False, "error": "message_not_found"})


class Clouds:
    """All of them, with one thing each that a test deletes."""

    def __init__(self) -> None:
        self.s3, self.ec2, self.drive, self.cluster, self.slack = S3(), EC2(), Drive(), ApiServer(), Slack()
        self.fill()

    def fill(self) -> None:
        """Everything is there."""
        self.s3.objects = {"2026/customers.sql.gz", "2026/orders.sql.gz"}
        self.ec2.running = {"i-0abc1234def567890"}
        self.drive.files = {"1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs": "Contracts"}
        self.cluster.namespaces = {"production"}
        self.slack.messages = {"1763800000.000100": "The launch is on Tuesday"}

    def hosts(self) -> dict[str, Provider]:
        """Each under its own name."""
        return {cloud.host: cloud for cloud in (self.s3, self.ec2, self.drive, self.cluster, self.slack)}


async def _xml(exchange: Exchange, text: str, status: int = 200) -> None:
    await exchange.respond(status, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), (), "text/xml")
