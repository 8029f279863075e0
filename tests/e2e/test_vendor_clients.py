"""The vendors' own clients: what only reads passes, what destroys is held under its tool's name and then done once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.agents import run_agent, start_agent
from support.clouds import BUCKET, CLUSTER, EC2, REGION, S3, ApiServer, Drive, Slack
from support.policy import policy_folder
from support.product import Product, client, eventually, make_product
from support.providers import Providers
from support.stand_in import Seen

pytestmark = pytest.mark.sdk

AWS = [*client("told.py"), str(Path(sys.executable).with_name("aws")), "s3"]
OBJECT = "2026/customers.sql.gz"
INSTANCE = "i-0abc1234def567890"
FILE = "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs"
MESSAGE = ("C024BE91L", "1763800000.000100")


@dataclass(frozen=True)
class Vendor:
    """One client: a read and what it gives, the destruction next to it and what that gives once it is approved."""

    host: str
    read: list[str]
    found: Any
    destroy: list[str]
    done: Any
    tool: str
    sent: tuple[str, str]
    """Method and path of what the vendor gets."""
    shown: tuple[str, ...]
    """What a reviewer has to see, beside the tool: which one it is."""
    arguments: dict[str, Any]


VENDORS = {
    "aws-cli": Vendor(
        S3.host,
        [*AWS, "ls", f"s3://{BUCKET}/2026/customers"],
        "customers.sql.gz",
        [*AWS, "rm", f"s3://{BUCKET}/{OBJECT}"],
        f"delete: s3://{BUCKET}/{OBJECT}",
        "aws.s3.DeleteObject",
        ("DELETE", f"/{OBJECT}"),
        (BUCKET, OBJECT),
        {"Bucket": BUCKET, "Key": OBJECT},
    ),
    "boto3": Vendor(
        EC2.host,
        client("boto3_ec2.py"),
        {"instances": [INSTANCE]},
        [*client("boto3_ec2.py"), INSTANCE],
        {"now": "shutting-down"},
        "aws.ec2.TerminateInstances",
        ("POST", "/"),
        (INSTANCE,),
        {"InstanceId.1": INSTANCE},
    ),
    "googleapiclient": Vendor(
        Drive.host,
        [*client("google_drive.py"), "get", FILE],
        {"kind": "drive#file", "id": FILE, "name": "Contracts"},
        [*client("google_drive.py"), "delete", FILE],
        {"deleted": ""},
        "google.drive.files.delete",
        ("DELETE", f"/drive/v3/files/{FILE}"),
        (FILE,),
        {"fileId": FILE},
    ),
    "kubernetes": Vendor(
        ApiServer.host,
        [*client("kubernetes_namespace.py"), "get", "production"],
        {"phase": "Active"},
        [*client("kubernetes_namespace.py"), "delete", "production"],
        {"status": "Success"},
        "k8s.namespaces.delete",
        ("DELETE", "/api/v1/namespaces/production"),
        ("production",),
        {"name": "production"},
    ),
    "slack-sdk": Vendor(
        Slack.host,
        [*client("slack_chat.py"), MESSAGE[0]],
        ["The launch is on Tuesday"],
        [*client("slack_chat.py"), *MESSAGE],
        {"deleted": MESSAGE[1]},
        "slack.chat.delete",
        ("POST", "/api/chat.delete"),
        MESSAGE,
        {"channel": MESSAGE[0], "ts": MESSAGE[1]},
    ),
}


@pytest.fixture(scope="module")
def shared_product(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A node whose operator says which host is the cluster's API server."""
    folder = tmp_path_factory.mktemp("clouds")
    policy = policy_folder(folder / "policy")
    (policy / "catalog").mkdir()
    (policy / "catalog" / "own.yaml").write_text(f"hosts: {{{CLUSTER}: k8s}}\n")
    product = make_product(running_providers, folder, policy=policy)
    product.start()
    yield product
    product.stop()


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """What the vendors' own set-up leaves behind: credentials, a region, a cluster; nothing about the proxy."""
    (tmp_path / "kubeconfig").write_text(
        f"""
apiVersion: v1
kind: Config
current-context: corp
clusters: [{{name: corp, cluster: {{server: "https://{CLUSTER}"}}}}]
users: [{{name: agent, user: {{token: kube-agent}}}}]
contexts: [{{name: corp, context: {{cluster: corp, user: agent}}}}]
"""
    )
    return {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def told(lines: list[Any]) -> Any:
    """What a client found or did; of a command what it said."""
    (line,) = lines
    if isinstance(line, dict) and "said" in line:
        assert line["code"] == 0, line["errors"]
        return line["said"]
    return line


def gives(lines: list[Any], wanted: Any) -> bool:
    """Whether it did what it should: a command's words say so, a client's document is equal."""
    found = told(lines)
    return wanted in found if isinstance(wanted, str) else bool(found == wanted)


@pytest.mark.parametrize("name", VENDORS)
def test_a_read_passes_and_nobody_is_asked(
    product: Product, providers: Providers, variables: dict[str, str], name: str
) -> None:
    vendor = VENDORS[name]
    lines = run_agent(product, product.agent(f"{name}-reader"), vendor.read, **variables)
    assert gives(lines, vendor.found), lines
    assert len(providers.stand_in.seen(host=vendor.host)) == 1
    assert [review for review in product.reviews() if review["agent"] == f"{name}-reader"] == []


@pytest.mark.parametrize("name", VENDORS)
def test_what_destroys_is_held_by_name_and_done_once_when_approved(
    product: Product, providers: Providers, variables: dict[str, str], name: str
) -> None:
    vendor = VENDORS[name]

    def arrived() -> list[Seen]:
        return providers.stand_in.seen(host=vendor.host)

    running = start_agent(product, product.agent(name), vendor.destroy, **variables)
    try:
        review = product.wait_review(agent=name)
        assert (review["tool"], review["tier"]) == (vendor.tool, "irreversible")
        card = product.api("GET", f"/v1/reviews/{review['review_id']}").body
        assert card["arguments"].items() >= vendor.arguments.items()
        assert [word for word in vendor.shown if word not in card["summary"]] == []
        assert arrived() == [], "sent before anybody decided"
        assert running.silent()
        assert product.decide(review["review_id"], "approve").status == 200
        lines = running.rest()
    finally:
        running.kill()
    assert gives(lines, vendor.done), lines
    assert [(seen.method, seen.path) for seen in arrived()] == [vendor.sent]
    eventually(lambda: [one["state"] for one in product.reviews() if one["agent"] == name] == ["executed"], "the end")


def test_what_was_rejected_never_arrives(product: Product, providers: Providers, variables: dict[str, str]) -> None:
    vendor = VENDORS["aws-cli"]
    running = start_agent(product, product.agent("rejected"), vendor.destroy, **variables)
    try:
        assert product.decide(product.wait_review(agent="rejected")["review_id"], "reject").status == 200
        (line,) = running.rest()
    finally:
        running.kill()
    assert line["code"] == 1
    assert "review_rejected" in line["errors"] + line["said"] or "403" in line["errors"], line
    assert providers.stand_in.seen(host=vendor.host) == []
    assert OBJECT in providers.clouds.s3.objects
