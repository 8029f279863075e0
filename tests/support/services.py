"""GitHub and Stripe as they answer, and git's own HTTP server behind `github.com`."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl

from support.stand_in import Exchange

GITHUB = "https://api.github.com"


class GitHub:
    """`api.github.com`: repositories that can be read, changed and deleted, the user, issues, GraphQL."""

    def __init__(self) -> None:
        self.repositories = {"acme/legacy-billing", "acme/website", "acme/docs"}

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        await exchange.stand_in.pace.step()
        parts = seen.path.strip("/").split("/")
        name = "/".join(parts[1:3])
        if seen.path == "/user":
            await exchange.json(200, {"login": "octocat", "id": 1, "url": f"{GITHUB}/users/octocat"})
        elif seen.path == "/graphql":
            await exchange.json(200, {"data": {"viewer": {"login": "octocat"}}})
        elif parts[0] != "repos" or name not in self.repositories:
            await exchange.json(404, {"message": "Not Found", "status": "404"})
        elif len(parts) == 3 and seen.method == "DELETE":
            self.repositories.discard(name)
            await exchange.respond(204)
        elif len(parts) == 3:
            await exchange.json(200, _repository(name))
        elif parts[3] == "issues" and seen.method == "POST":
            await exchange.json(201, {"number": 7, "title": "made", "url": f"{GITHUB}/repos/{name}/issues/7"})
        elif parts[3] == "issues":
            await exchange.json(200, [])
        else:
            await exchange.json(200, {})


def _repository(name: str) -> dict[str, object]:
    owner, _, short = name.partition("/")
    return {
        "id": 1296269,
        "name": short,
        "full_name": name,
        "private": False,
        "owner": {"login": owner, "id": 1, "url": f"{GITHUB}/users/{owner}"},
        "url": f"{GITHUB}/repos/{name}",
        "html_url": f"https://github.com/{name}",
        "default_branch": "main",
    }


class Stripe:
    """`api.stripe.com`: charges, payment intents, refunds."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        await exchange.stand_in.pace.step()
        self.made += 1
        form = dict(parse_qsl(seen.body.decode()))
        parts = seen.path.strip("/").split("/")
        kind = {"charges": "charge", "payment_intents": "payment_intent", "refunds": "refund"}.get(parts[1], "object")
        if seen.method == "GET" and len(parts) == 2:
            await exchange.json(200, {"object": "list", "data": [], "has_more": False, "url": seen.path})
            return
        await exchange.json(
            200,
            {
                "id": parts[2] if len(parts) > 2 else f"{kind[:2]}_{self.made}",
                "object": kind,
                "amount": int(form.get("amount", "0")),
                "currency": form.get("currency", "usd"),
                "status": "succeeded",
                "livemode": False,
            },
            (("Request-Id", f"req_{self.made}"), ("Idempotent-Replayed", "false")),
        )


class GitServer:
    """`github.com`: the smart HTTP protocol by git's own `http-backend`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str) -> None:
        """A repository with one commit on `main`."""
        work = self.root / "work" / name
        bare = self.root / "bare" / f"{name}.git"
        work.mkdir(parents=True)
        environment = _git_environment() | {
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.com",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.com",
        }
        (work / "README.md").write_text("hello\n")
        for command in (
            ["init", "-q", "-b", "main", "."],
            ["add", "README.md"],
            ["commit", "-q", "-m", "First"],
            ["clone", "-q", "--bare", ".", str(bare)],
            ["-C", str(bare), "config", "http.receivepack", "true"],
        ):
            subprocess.run(["git", *command], cwd=work, env=environment, check=True)

    async def __call__(self, exchange: Exchange) -> None:
        seen = exchange.seen
        path, _, query = seen.target.partition("?")
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_git_environment()
            | {
                "GIT_PROJECT_ROOT": str(self.root / "bare"),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": seen.method,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": seen.header("content-type") or "",
                "CONTENT_LENGTH": str(len(seen.body)),
                "HTTP_CONTENT_ENCODING": seen.header("content-encoding") or "",
                "HTTP_GIT_PROTOCOL": seen.header("git-protocol") or "",
                "GIT_PROTOCOL": seen.header("git-protocol") or "",
                "REMOTE_USER": "agent",
                "REMOTE_ADDR": "127.0.0.1",
            },
        )
        answer, _ = await process.communicate(seen.body)
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")]
        status = next((int(value.split()[0]) for name, _, value in fields if name == "Status"), 200)
        await exchange.respond(status, body, tuple((name, value) for name, _, value in fields if name != "Status"))


def _git_environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "HOME": os.devnull,
    }
