"""Bodies in a grammar of their own: GraphQL documents, and git's requests over HTTPS."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest

from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Tier
from support.requests import classified
from support.tools import need

URL = "https://api.github.com/graphql"
QUERY, MUTATION = "github.graphql.query", "github.graphql.mutation"

DOCUMENTS = [
    ("shorthand", "{ viewer { login } }", QUERY),
    ("a named query", "query A($n: Int!) { viewer { repositories(first: $n) { totalCount } } }", QUERY),
    ("several queries", "query A { viewer { login } } query B { rateLimit { cost } }", QUERY),
    ("a query with fragments", "query { ...F } fragment F on Query { viewer { login } }", QUERY),
    ("the word mutation in a text", 'query { search(query: "mutation {", type: USER, first: 1) { userCount } }', QUERY),
    ("the word mutation in a comment", "# mutation { deleteIssue }\n{ viewer { login } }", QUERY),
    ("a field named mutation", "{ mutation: viewer { login } }", QUERY),
    ("a mutation", "mutation { addStar(input: {starrableId: 1}) { clientMutationId } }", "github.graphql.addStar"),
    ("a mutation under an alias", "mutation { viewer: deleteIssue(input: {}) { x } }", "github.graphql.deleteIssue"),
    (
        "a mutation in a fragment",
        "mutation { ...F } fragment F on Mutation { deleteIssue(input: {}) { x } }",
        "github.graphql.deleteIssue",
    ),
    (
        "a mutation in an inline fragment",
        "mutation { ... on Mutation { deleteIssue(input: {}) { x } } }",
        "github.graphql.deleteIssue",
    ),
    (
        "a mutation that is skipped",
        "mutation { deleteIssue(input: {}) @skip(if: true) { x } }",
        "github.graphql.deleteIssue",
    ),
    ("two mutations", "mutation { addStar(input: {}) { x } deleteIssue(input: {}) { x } }", MUTATION),
    (
        "a query and a mutation",
        "query A { viewer { login } } mutation B { addStar(input: {}) { x } }",
        "github.graphql.addStar",
    ),
    ("a subscription", "subscription { anything }", "github.graphql.anything"),
    ("a mutation named query", "mutation query { addStar(input: {}) { x } }", "github.graphql.addStar"),
]


@pytest.mark.parametrize(("document", "tool"), [row[1:] for row in DOCUMENTS], ids=[row[0] for row in DOCUMENTS])
def test_documents(document: str, tool: str) -> None:
    for found in (
        classified("POST", URL, json={"query": document}),
        classified("POST", URL, json={"query": document, "operationName": "A", "variables": {"n": 1}}),
        classified("POST", URL, document, "Content-Type: application/graphql"),
        classified("GET", f"{URL}?query={quote(document, safe='')}"),
        classified("POST", URL, json.dumps({"query": document}), "Content-Type: application/x-www-form-urlencoded"),
    ):
        assert found.tool == tool
        assert found.tier is (Tier.REVERSIBLE if tool == QUERY else Tier.IRREVERSIBLE)


def test_all_of_several_mutations_are_listed_and_none_of_them_names_the_call() -> None:
    found = classified(
        "POST", URL, json={"query": "mutation { a: addStar { x } ...F } fragment F on Mutation { deleteIssue { x } }"}
    )
    assert found.tool == MUTATION
    assert found.operations == ("github.graphql.addStar", "github.graphql.deleteIssue")
    assert "deleteIssue" in found.summary


def test_a_batch_is_as_bad_as_its_worst() -> None:
    read, write = {"query": "{ viewer { login } }"}, {"query": "mutation { deleteIssue { x } }"}
    assert classified("POST", URL, json=[read, read]).tool == QUERY
    found = classified("POST", URL, json=[read, write])
    assert (found.tool, found.tier) == (MUTATION, Tier.IRREVERSIBLE)
    assert found.operations == ("github.graphql.deleteIssue",)


def test_a_bare_get_asks_for_the_schema() -> None:
    assert classified("GET", URL).tool == QUERY


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        [{"query": "{ a }"}] * 51,
        [1],
        "text",
        {"query": 7},
        {"query": ""},
        {"query": "{ viewer"},
        {"query": "fragment F on Query { a }"},
        {"query": "query { ...Missing }"},
        {"query": "type A { b: Int }"},
        {"query": "{ ...F } fragment F on Query { a } fragment F on Query { b }"},
        {"query": "{ a }" + " " * 200_000},
        {"query": "{" + " a" * 20_000 + "}"},
        {"query": "{ a " * 5_000},
        {"id": "abc"},
        {"query": "{ a }", "id": "abc"},
        {"query": "{ a }", "extensions": {"persistedQuery": {"sha256Hash": "x"}}},
    ],
)
def test_what_cannot_be_read_is_refused(body: object) -> None:
    with pytest.raises(RequestAmbiguous):
        classified("POST", URL, json=body)


def test_documents_in_two_places_are_refused() -> None:
    with pytest.raises(RequestAmbiguous):
        classified("POST", f"{URL}?query=%7Ba%7D", json={"query": "{ b }"})
    with pytest.raises(RequestAmbiguous):
        classified("GET", f"{URL}?query=%7Ba%7D&query=mutation%7Bb%7D")
    with pytest.raises(RequestAmbiguous):
        classified("POST", URL, '{"query": "{ a }", "query": "mutation { b }"}', "Content-Type: application/json")


def test_fragments_that_spread_each_other_cost_no_more_than_their_number() -> None:
    fragments = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(100))
    started = time.process_time()
    found = classified(
        "POST", URL, json={"query": f"{{ ...F0 }} {fragments} fragment F100 on Query {{ viewer {{ login }} ...F0 }}"}
    )
    assert found.tool == QUERY
    assert time.process_time() - started < 1


# git


def pkt(line: bytes) -> bytes:
    return b"%04x" % (len(line) + 4) + line


REPO = "https://github.com/acme/site"
NOTHING, ONE, TWO = b"0" * 40, b"1" * 40, b"2" * 40
CAPABILITIES = b"\0 report-status side-band-64k agent=git/2.47"


def test_the_refs_before_a_fetch_or_a_push_only_read() -> None:
    for service in ("git-upload-pack", "git-receive-pack"):
        found = classified("GET", f"{REPO}.git/info/refs?service={service}")
        assert (found.tool, found.tier) == ("git.refs.list", Tier.REVERSIBLE)


WANT = pkt(b"command=fetch") + b"0001" + pkt(b"want " + ONE + b"\n")
FETCHES = [
    (WANT + pkt(b"done\n") + b"0000", "git.clone"),
    (WANT + pkt(b"have " + TWO + b"\n") + b"0000", "git.fetch"),
    (pkt(b"command=ls-refs\n") + b"00010000", "git.fetch"),
    (pkt(b"want " + ONE + CAPABILITIES) + b"0000" + pkt(b"done\n"), "git.clone"),
    (b"rubbish", "git.fetch"),
]


@pytest.mark.parametrize(("body", "tool"), FETCHES)
def test_clone_and_fetch_only_read(body: bytes, tool: str) -> None:
    media_type = "Content-Type: application/x-git-upload-pack-request"
    for found in (
        classified("POST", f"{REPO}/git-upload-pack", body, media_type),
        classified("POST", f"{REPO}.git/git-upload-pack", gzip.compress(body), media_type, "Content-Encoding: gzip"),
    ):
        assert (found.tool, found.tier) == (tool, Tier.REVERSIBLE)


PUSHES = [
    ([(NOTHING, ONE, b"refs/heads/x")], "git.branch.create", Tier.VISIBLE, "create refs/heads/x"),
    (
        [(ONE, TWO, b"refs/heads/x")],
        "git.branch.force_or_unproven",
        Tier.IRREVERSIBLE,
        "force_or_unproven refs/heads/x",
    ),
    ([(ONE, NOTHING, b"refs/heads/x")], "git.branch.delete", Tier.IRREVERSIBLE, "delete refs/heads/x"),
    ([(ONE, NOTHING, b"refs/tags/v1")], "git.tag.delete", Tier.IRREVERSIBLE, "delete refs/tags/v1"),
    ([(NOTHING, ONE, b"refs/notes/x")], "git.ref.create", Tier.IRREVERSIBLE, "create refs/notes/x"),
    ([(NOTHING, ONE, b"HEAD")], "git.ref.create", Tier.IRREVERSIBLE, "create HEAD"),
    (
        [(NOTHING, ONE, b"refs/heads/x"), (ONE, NOTHING, b"refs/heads/y")],
        "git.push",
        Tier.IRREVERSIBLE,
        "create refs/heads/x, delete refs/heads/y",
    ),
    (
        [(NOTHING, ONE, b"refs/heads/x"), (NOTHING, ONE, b"refs/tags/y")],
        "git.push",
        Tier.VISIBLE,
        "create refs/heads/x",
    ),
]


@pytest.mark.parametrize(("commands", "tool", "tier", "told"), PUSHES)
def test_a_push_tells_its_refs_and_the_worst_decides(
    commands: list[tuple[bytes, bytes, bytes]], tool: str, tier: Tier, told: str
) -> None:
    lines = [b" ".join(command) + (CAPABILITIES if number == 0 else b"") for number, command in enumerate(commands)]
    body = b"".join(pkt(line) for line in lines) + b"0000PACK..."
    found = classified("POST", f"{REPO}/git-receive-pack", body, "Content-Type: application/x-git-receive-pack-request")
    assert (found.tool, found.tier) == (tool, tier)
    assert found.summary.startswith(f"Push to acme/site: {told}")


@pytest.mark.parametrize(
    "body", [b"", b"00", b"zzzz", b"0004", pkt(b"delete everything") + b"0000", b"ffff" + b"x" * 9]
)
def test_a_push_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(RequestAmbiguous):
        classified("POST", f"{REPO}/git-receive-pack", body)


def test_the_probe_before_a_large_push_does_nothing() -> None:
    found = classified("POST", f"{REPO}/git-receive-pack", b"0000")
    assert (found.tool, found.tier) == ("git.push.probe", Tier.REVERSIBLE)


def test_large_files_are_read_but_not_written() -> None:
    url = f"{REPO}.git/info/lfs/objects/batch"
    assert classified("POST", url, json={"operation": "download", "objects": []}).tool == "git.lfs.download"
    for body in ({"operation": "upload"}, {"operation": ["download"]}, {}):
        assert classified("POST", url, json=body).tier is Tier.IRREVERSIBLE


class Recorder(BaseHTTPRequestHandler):
    """Answers git with the refs of a bare repository, keeps what it posts, and takes nothing."""

    repository: Path
    posted: ClassVar[list[tuple[str, bytes, list[str]]]] = []

    def do_GET(self) -> None:
        service = self.path.partition("service=")[2]
        command = [
            need("git"),
            service.removeprefix("git-"),
            "--stateless-rpc",
            "--advertise-refs",
            str(self.repository),
        ]
        refs = subprocess.run(command, capture_output=True, check=True).stdout
        self.answer(
            200, f"application/x-{service}-advertisement", pkt(f"# service={service}\n".encode()) + b"0000" + refs
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, body, [f"{name}: {value}" for name, value in self.headers.items()]))
        self.answer(500, "text/plain", b"")

    def answer(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_what_git_itself_sends(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_TERMINAL_PROMPT": "0",
    }
    here, there = tmp_path / "here", tmp_path / "there.git"

    def git(*command: str, check: bool = True) -> None:
        subprocess.run([need("git"), *command], cwd=tmp_path, env=environment, capture_output=True, check=check)

    git("init", "-q", "--bare", str(there))
    git("init", "-q", "-b", "main", str(here))
    git("-C", str(here), "commit", "-q", "--allow-empty", "-m", "x")
    git("-C", str(here), "push", "-q", str(there), "main:main", "main:old")
    git("-C", str(here), "commit", "-q", "--allow-empty", "-m", "y")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Here", (Recorder,), {"repository": there, "posted": (posted := [])})
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/acme/site.git"
        git("-C", str(here), "push", "-q", url, "main:main", "main:refs/tags/v1", ":old", check=False)
        git("clone", "-q", url, str(tmp_path / "clone"), check=False)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    found = [classified("POST", f"https://github.com{path}", body, *headers) for path, body, headers in posted]
    assert found[0].tool == "git.push"
    assert set(found[0].operations) == {"git.branch.update", "git.branch.delete", "git.tag.create"}
    assert {call.tool for call in found[1:]} <= {"git.clone", "git.fetch"}
    assert len(found) >= 2
