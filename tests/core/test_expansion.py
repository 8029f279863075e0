"""Several calls in one request, and calls that only the body or the signature names: the worst of them decides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Classification, Tier
from support.requests import classified

GRAPH = "https://graph.microsoft.com/v1.0/$batch"
GOOGLE = "https://www.googleapis.com/batch/drive/v3"
MCP = "https://mcp.example.com/mcp"
R, V, X = Tier.REVERSIBLE, Tier.VISIBLE, Tier.IRREVERSIBLE


def graph(*calls: tuple[str, str]) -> dict[str, Any]:
    return {"requests": [{"id": str(n), "method": m, "url": u} for n, (m, u) in enumerate(calls)]}


def google(*calls: tuple[str, str], boundary: str = "b") -> str:
    parts = [f"--{boundary}\r\nContent-Type: application/http\r\n\r\n{m} {u} HTTP/1.1\r\n\r\n" for m, u in calls]
    return "".join(parts) + f"--{boundary}--\r\n"


def test_a_graph_batch_is_the_worst_of_its_calls() -> None:
    reads = graph(("GET", "/me/messages"), ("GET", "/users"))
    assert (found := classified("POST", GRAPH, json=reads)).tier is R
    assert found.operations == ("msgraph.users.messages.list", "msgraph.users.list")
    found = classified("POST", GRAPH, json=graph(("GET", "/me"), ("DELETE", "/me/messages/m1")))
    assert (found.tool, found.tier) == ("msgraph.batch", X)
    assert "msgraph.users.messages.delete" in found.summary
    assert classified("POST", GRAPH, json=graph(("DELETE", "/users/u1"))).tool == "msgraph.users.delete"


def test_a_google_batch_is_the_worst_of_its_calls() -> None:
    multipart = 'Content-Type: multipart/mixed; boundary="b"'
    reads = google(("GET", "/drive/v3/files/a?fields=id"), ("GET", "/drive/v3/files/b"))
    assert (found := classified("POST", GOOGLE, reads, multipart)).tier is R
    assert found.tool == "google.drive.files.get"
    found = classified("POST", GOOGLE, google(("GET", "/drive/v3/files/a"), ("DELETE", "/drive/v3/files/b")), multipart)
    assert (found.tool, found.tier) == ("google.batch", X)
    assert "google.drive.files.delete" in found.operations


@pytest.mark.parametrize(
    ("url", "body", "headers"),
    [
        (GRAPH, "{}", ["Content-Type: application/json"]),
        (GRAPH, json.dumps(graph()), []),
        (GRAPH, json.dumps(graph(("POST", "/$batch"))), []),
        (GRAPH, json.dumps({"requests": [{"id": "1", "method": "GET", "url": "https://evil.example/"}]}), []),
        (GOOGLE, google(("GET", "/drive/v3/files/a")), []),
        (GOOGLE, google(("GET", "/batch/drive/v3")), ["Content-Type: multipart/mixed; boundary=b"]),
        (GOOGLE, google(("GET", "/drive/v3/files/a"))[:-8], ["Content-Type: multipart/mixed; boundary=b"]),
        (GOOGLE, google(("FETCH", "/drive/v3/files/a")), ["Content-Type: multipart/mixed; boundary=b"]),
    ],
)
def test_a_batch_that_cannot_be_taken_apart_is_refused(url: str, body: str, headers: list[str]) -> None:
    with pytest.raises(RequestAmbiguous):
        classified("POST", url, body, *headers)


@given(st.lists(st.sampled_from(["GET", "DELETE", "POST", "PATCH"]), min_size=1, max_size=6))
def test_no_company_lowers_a_call_in_a_batch(methods: list[str]) -> None:
    calls = [(method, "/users/u1" if method != "POST" else "/users") for method in methods]
    found = classified("POST", GRAPH, json=graph(*calls))
    alone = [classified("POST", GRAPH, json=graph(call)).tier.rank for call in calls]
    assert found.tier.rank == max(alone)


# MCP


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


SALESFORCE = "https://acme.my.salesforce.com/services/data/v61.0/composite"
ACCOUNT = "/services/data/v61.0/sobjects/Account/1"


def of_salesforce(*calls: dict[str, Any], url: str = SALESFORCE) -> Classification:
    body = {"allOrNone": True, "compositeRequest": [{"referenceId": f"r{n}", **call} for n, call in enumerate(calls)]}
    return classified("POST", url, json=body)


def test_a_salesforce_composite_is_the_worst_of_its_calls() -> None:
    get, delete = {"method": "GET", "url": ACCOUNT}, {"method": "DELETE", "url": ACCOUNT}
    create = {"method": "POST", "url": ACCOUNT.rpartition("/")[0], "body": {"Name": "x"}}
    found = of_salesforce(get, create, delete)
    assert (found.tool, found.tier) == ("salesforce.composite", X)
    assert found.operations == ("salesforce.read", "salesforce.sobjects.create", "salesforce.sobjects.delete")
    assert "salesforce.sobjects.delete" in found.summary
    assert (of_salesforce(delete).tool, of_salesforce(delete).tier) == ("salesforce.sobjects.delete", X)
    assert (of_salesforce(get).tool, of_salesforce(get).tier) == ("salesforce.read", R)
    batch = {"batchRequests": [{"method": "DELETE", "url": "v61.0/sobjects/Account/1"}]}
    assert classified("POST", f"{SALESFORCE}/batch", json=batch).tool == "salesforce.sobjects.delete"


@pytest.mark.parametrize(
    "call",
    [
        {"method": "GET", "url": "/services/data/v61.0/@{r0.path}"},
        {"method": "GET", "url": "/services/data/v61.0/%40%7Br0.path%7D"},
        {"method": "GET", "url": ACCOUNT, "httpHeaders": {"X-HTTP-Method-Override": "DELETE"}},
        {"method": "GET", "url": f"{ACCOUNT}?_HttpMethod=DELETE"},
        {"method": "get", "url": ACCOUNT},
        {"method": "GET", "url": SALESFORCE},
        {"method": "GET", "url": "/services/data/v61.0/tooling/executeAnonymous?anonymousBody=x"},
        {"method": "GET", "url": "/services/apexrest/x"},
        {"method": "GET"},
    ],
)
def test_what_a_composite_may_hide_stays_irreversible(call: dict[str, Any]) -> None:
    assert classify_or_refuse(call) in (X, None)


def classify_or_refuse(call: dict[str, Any]) -> Tier | None:
    try:
        return of_salesforce({"method": "GET", "url": ACCOUNT}, call).tier
    except RequestAmbiguous:
        return None


def test_a_composite_by_another_method_stays_one() -> None:
    found = classified("POST", f"{SALESFORCE}?_HttpMethod=DELETE", json={"compositeRequest": []})
    assert (found.tool, found.tier) == ("salesforce.composite", X)


def test_an_mcp_call_is_named_and_raised_by_its_tool() -> None:
    found = classified("POST", MCP, json=call("read_file", path="/x"))
    assert (found.tool, found.tier, found.mapped) == ("mcp.mcp-example-com.read_file", V, False)
    assert found.arguments == {"path": "/x"}
    for tool in ("delete_file", "sendEmail", "run_query", "PurgeCache"):
        assert classified("POST", MCP, json=call(tool)).tier is X
    both = classified("POST", MCP, json=[call("read_file"), call("delete_file")])
    assert (both.tool, both.tier, len(both.operations)) == ("mcp.batch", X, 2)
    same = classified("POST", MCP, json=[call("delete_file", path="/x"), call("delete_file", path="/y")])
    assert same.tool == "mcp.mcp-example-com.delete_file"
    assert "path" not in same.arguments


def test_an_mcp_body_lowers_nothing_on_a_host_that_nobody_described() -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert classified("POST", MCP, json=ping).tier is V
    assert classified("DELETE", MCP, json=ping).tier is X


def test_headers_that_name_another_call_are_refused() -> None:
    classified("POST", MCP, "", "Mcp-Method: tools/call", "Mcp-Name: read_file", json=call("read_file"))
    for header in ("Mcp-Method: ping", "Mcp-Name: read_file"):
        with pytest.raises(RequestAmbiguous, match="MCP header"):
            classified("POST", MCP, "", header, json=call("delete_file"))
    encoded = "=?base64?bMO2c2NoZW4=?="  # of a name that no header can hold
    classified("POST", MCP, "", f"Mcp-Name: {encoded}", json=call("löschen"))
    for header, tool in ((encoded, "lesen"), (encoded, encoded), ("=?base64?!?=", "lesen")):
        with pytest.raises(RequestAmbiguous, match="MCP header"):
            classified("POST", MCP, "", f"Mcp-Name: {header}", json=call(tool))
    with pytest.raises(RequestAmbiguous, match="without its tool"):
        classified("POST", MCP, json={"jsonrpc": "2.0", "method": "tools/call", "params": {}})


# AWS signatures

SCOPE = "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/{}/aws4_request, SignedHeaders=host"


def test_a_signature_names_the_service_wherever_the_request_goes() -> None:
    found = classified("DELETE", "https://minio.corp.example/bucket/key", "", SCOPE.format("s3"))
    assert (found.tool, found.tier, found.mapped) == ("aws.s3.DeleteObject", X, False)
    found = classified("POST", "http://localhost:8000/", "{}", SCOPE.format("dynamodb"),
                       "X-Amz-Target: DynamoDB_20120810.DeleteTable")  # fmt: skip
    assert (found.tool, found.tier) == ("aws.dynamodb.DeleteTable", X)
    read = classified("GET", "https://minio.corp.example/bucket/key", "", SCOPE.format("s3"))
    assert (read.tool, read.tier) == ("aws.s3.GetObject", R)


def test_a_signature_for_another_service_than_the_hosts_adds_that_ones_operations() -> None:
    target = "X-Amz-Target: DynamoDB_20120810.DeleteTable"
    found = classified("POST", "https://sqs.us-east-1.amazonaws.com/", "{}", SCOPE.format("dynamodb"), target)
    assert (found.tool, found.tier) == ("aws.dynamodb.DeleteTable", X)


def test_two_ways_to_name_an_aws_operation_are_refused() -> None:
    with pytest.raises(RequestAmbiguous, match="both Action and X-Amz-Target"):
        classified("POST", "https://sqs.us-east-1.amazonaws.com/?Action=ListQueues", "{}",
                   "X-Amz-Target: AmazonSQS.DeleteQueue")  # fmt: skip
    with pytest.raises(RequestAmbiguous, match="two AWS signatures"):
        classified("GET", "https://x.s3.amazonaws.com/k?X-Amz-Credential=A/20261123/us-east-1/sqs/aws4_request", "",
                   SCOPE.format("s3"))  # fmt: skip


def test_a_browsers_host_is_refused() -> None:
    with pytest.raises(RequestAmbiguous, match="browsers"):
        classified("GET", "https://clients6.google.com/drive/v2/files")
