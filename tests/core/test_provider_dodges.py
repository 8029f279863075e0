"""Requests that a provider carries out although their method, host or place says less: each is held or refused."""

from __future__ import annotations

import json

import pytest

from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Tier
from support.requests import FORM, classified

K8S = "https://kubernetes.default.svc"
POD = f"{K8S}/api/v1/namespaces/a/pods/b"
DEPLOYMENT = f"{K8S}/apis/apps/v1/namespaces/a/deployments/d"
SQS, ELB, EC2 = (f"https://{service}.us-east-1.amazonaws.com" for service in ("sqs", "elasticloadbalancing", "ec2"))
BUCKET = "https://storage.googleapis.com/storage/v1/b"
DATASETS = "https://bigquery.googleapis.com/bigquery/v2/projects/p/datasets"
SALESFORCE = "services/data/v61.0/sobjects"
JSON_TYPE, FORM_TYPE = "Content-Type: application/json", f"Content-Type: {FORM}"
YAML = "Content-Type: application/apply-patch+yaml"
TWILIO = "twilio.com/2010-04-01/Accounts/A.json"
RELATED_TYPE = "Content-Type: multipart/related; boundary=b"
RELATED = (
    '--b\r\nContent-Type: application/json\r\n\r\n{"name": "k", "acl": [{"entity": "allUsers", "role": "READER"}]}\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--"
)
UPLOADS = "https://storage.googleapis.com/upload/storage/v1/b/b/o"
NONE = {"replicas": 0}
STOPPED = {"spec": NONE}
TERMINATE = "Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-1"
RELEASE = "Action=ReleaseHosts&Version=2016-11-15&HostId.1=h-1"

HELD: dict[str, tuple[str, ...]] = {
    # a rehearsal that is none
    "options in a delete's body, past its query": ("DELETE", f"{POD}?dryRun=All", "{}", JSON_TYPE),
    "of all pods too": ("DELETE", f"{K8S}/api/v1/namespaces/a/pods?dryRun=All", '{"kind": "DeleteOptions"}', JSON_TYPE),
    "an exec": ("POST", f"{POD}/exec?command=id&dryRun=All"),
    "an exec by GET": ("GET", f"{POD}/exec?command=id&dryRun=All"),
    "a proxy to a service": ("POST", f"{K8S}/api/v1/namespaces/a/services/s/proxy/x?dryRun=All", "{}", JSON_TYPE),
    "a token": ("POST", f"{K8S}/api/v1/namespaces/a/serviceaccounts/s/token?dryRun=All", "{}", JSON_TYPE),
    "another server's API": ("DELETE", f"{K8S}/apis/project.openshift.io/v1/projects/p?dryRun=All"),
    "DryRun beside a form": ("POST", f"{EC2}/?DryRun=true", TERMINATE, FORM_TYPE),
    "an operation without DryRun": ("POST", f"{EC2}/", f"{RELEASE}&DryRun=true", FORM_TYPE),
    # Kubernetes
    "a delete under watch": ("DELETE", f"{K8S}/api/v1/watch/namespaces/a/pods/b"),
    "no replicas in YAML": ("PATCH", DEPLOYMENT, "spec:\n  replicas: 0\n", YAML),
    "no replicas in protobuf": ("PUT", DEPLOYMENT, "k8s\0..", "Content-Type: application/vnd.kubernetes.protobuf"),
    "no replicas in a whole spec": ("PATCH", DEPLOYMENT, json.dumps([{"op": "add", "path": "/spec", "value": NONE}])),
    "no replicas in a whole object": ("PATCH", DEPLOYMENT, json.dumps([{"op": "add", "path": "", "value": STOPPED}])),
    "replicas copied": ("PATCH", DEPLOYMENT, '[{"op": "copy", "from": "/spec/x", "path": "/spec/replicas"}]'),
    "roles of OpenShift": ("POST", f"{K8S}/apis/authorization.openshift.io/v1/clusterrolebindings", "{}", JSON_TYPE),
    # AWS by GET
    "a queue's own address": ("GET", f"{SQS}/123456789012/jobs?Action=DeleteQueue&Version=2012-11-05"),
    "an older version": ("GET", f"{ELB}/?Action=DeleteLoadBalancer&Version=2011-11-15&LoadBalancerName=x"),
    "no version": ("GET", f"{ELB}/?Action=DeleteLoadBalancer&LoadBalancerName=x"),
    "a path in front": ("GET", f"{EC2}/x?{TERMINATE}"),
    "an action nobody knows": ("GET", f"{EC2}/?Action=DeleteAllOfIt"),
    "a service that has no query protocol": ("GET", "https://kms.us-east-1.amazonaws.com/?Action=ScheduleKeyDeletion"),
    "a private endpoint": ("GET", "https://vpce-1.sqs.us-east-1.vpce.amazonaws.com/1/q?Action=DeleteQueue"),
    # others by GET
    "Slack in another case": ("GET", "https://slack.com/api/Chat.Delete?channel=C&ts=1"),
    "Slack's older methods": ("GET", "https://slack.com/api/channels.delete?channel=C"),
    "Telegram": ("GET", "https://api.telegram.org/bot1:a/deleteMessage?chat_id=1&message_id=2"),
    "Telegram's newer methods": ("GET", "https://api.telegram.org/bot1:a/banChatMember?chat_id=1&user_id=2"),
    "an SMS": ("GET", "https://rest.nexmo.com/sms/json?to=1&text=x"),
    "Apex": ("GET", "https://a.my.salesforce.com/services/apexrest/wipe"),
    "GraphQL": ("GET", "https://backboard.railway.app/graphql/v2?query=mutation%7BvolumeDelete(volumeId:1)%7D"),
    # headers of S3
    "an object for everybody": ("PUT", "https://b.s3.amazonaws.com/k", "x", "X-Amz-Acl: public-read"),
    "said twice": ("PUT", "https://b.s3.amazonaws.com/k", "x", "x-amz-acl: private", "x-amz-acl: public-read"),
    "signed into the address": ("PUT", "https://b.s3.amazonaws.com/k?X-Amz-Acl=public-read", "x"),
    "by a grant": ("PUT", "https://b.s3.amazonaws.com/k", "x", "x-amz-grant-read: uri=AllUsers"),
    "a copy": ("PUT", "https://s3.amazonaws.com/b/k", "", "x-amz-copy-source: /b/j", "x-amz-acl: public-read"),
    "a bucket": ("PUT", "https://s3.us-east-1.amazonaws.com/b", "", "x-amz-acl: public-read-write"),
    "for years": ("PUT", "https://b.s3.amazonaws.com/k", "x", "x-amz-object-lock-mode: COMPLIANCE"),
    # Google
    "an object of Google's": ("POST", f"{BUCKET}/b/o/k/rewriteTo/b/b/o/j?destinationPredefinedAcl=publicRead", "{}"),
    "its list": ("PATCH", f"{BUCKET}/b/o/k", '{"acl": [{"entity": "allUsers", "role": "READER"}]}', JSON_TYPE),
    "an upload": ("POST", f"{UPLOADS}?name=k&predefinedAcl=publicRead", "x"),
    "an upload's metadata": ("POST", f"{UPLOADS}?uploadType=multipart", RELATED, RELATED_TYPE),
    "before its content": ("POST", f"{UPLOADS}?uploadType=resumable", '{"acl": [{"entity": "allUsers"}]}', JSON_TYPE),
    "a composed one": ("POST", f"{BUCKET}/b/o/k/compose", '{"destination": {"acl": []}}', JSON_TYPE),
    "a dataset": ("PATCH", f"{DATASETS}/d", '{"access": []}', JSON_TYPE),
    "a table that ends": ("PATCH", f"{DATASETS}/d/tables/t", '{"expirationTime": "1"}', JSON_TYPE),
    # twins of what is held
    "a team, the older way": ("PATCH", "https://api.github.com/teams/1", '{"permission": "admin"}', JSON_TYPE),
    "a customer's balance": ("POST", "https://api.stripe.com/v1/customers/c", "balance=-9", FORM_TYPE),
    "an account's end": ("POST", f"https://api.{TWILIO}", "Status=closed", FORM_TYPE),
    "a message's text": ("POST", f"https://api.{TWILIO[:-5]}/Messages/M.json", "Body=", FORM_TYPE),
    "what looks for secrets": (
        "PATCH", "https://api.github.com/repos/a/b",
        '{"security_and_analysis": {"secret_scanning": {"status": "disabled"}}}', JSON_TYPE,
    ),
    "a payout's goal, the older way": ("POST", "https://api.stripe.com/v1/accounts/a", "bank_account=t", FORM_TYPE),
    "a machine made anew": ("POST", "https://api.linode.com/v4/linode/instances/1/rebuild", "{}", JSON_TYPE),
    "by an action's type": (
        "POST", "https://api.digitalocean.com/v2/droplets/1/actions", '{"type": "rebuild"}', JSON_TYPE,
    ),
    "a permission as a record": ("POST", f"https://a.my.salesforce.com/{SALESFORCE}/PermissionSetAssignment", "{}"),
    "in any case": ("PATCH", f"https://a.my.salesforce.com/{SALESFORCE}/USER/1", "{}", JSON_TYPE),
    # other hosts of the same API
    "a workspace's own host": ("POST", "https://acme.slack.com/api/conversations.archive", "channel=C", FORM_TYPE),
    "by GET": ("GET", "https://acme.slack.com/api/chat.delete?channel=C&ts=1"),
    "an enterprise's": ("POST", "https://acme.enterprise.slack.com/api/files.delete", "file=F", FORM_TYPE),
    "GitHub's for enterprises": ("PUT", "https://api.acme.ghe.com/repos/a/b/pulls/1/merge", "{}", JSON_TYPE),
    "GitHub's packages": ("PUT", "https://maven.pkg.github.com/a/b/c/1/c-1.jar", "x"),
    "Docker's index": ("PUT", "https://index.docker.io/v2/a/b/manifests/latest", "{}"),
    "npm's": ("PUT", "https://registry.npmjs.com/left-pad", "{}", JSON_TYPE),
    "Salesforce's instances": ("POST", "https://na139.salesforce.com/services/data/v61.0/composite", "{}", JSON_TYPE),
    "Adyen's own prefixes": ("POST", "https://a-pal-live.adyenpayments.com/pal/servlet/Payment/v68/refund", "{}"),
    "Adyen's live ones": ("POST", "https://management-live.adyen.com/v1/companies/c/apiCredentials", "{}"),
    "Twilio's regions": ("POST", f"https://api.dublin.ie1.{TWILIO}", "Status=closed", FORM_TYPE),
    "Jira by OAuth": ("PUT", "https://api.atlassian.com/ex/jira/1/rest/api/3/permissionscheme/1", "{}", JSON_TYPE),
    "Azure's regions": (
        "POST", "https://eastus.management.azure.com/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute"
        "/virtualMachines/v/deallocate",
    ),
    "Outlook's": ("POST", "https://outlook.office365.com/EWS/Exchange.asmx", "<DeleteItem/>", "Content-Type: text/xml"),
    "Discord's testers": ("POST", "https://canary.discord.com/api/v9/guilds/1/bulk-ban", "{}", JSON_TYPE),
    "Datadog's older one": ("POST", "https://app.datadoghq.com/api/v1/api_key", "{}", JSON_TYPE),
}  # fmt: skip


@pytest.mark.parametrize("sent", HELD.values(), ids=HELD)
def test_what_a_provider_carries_out_is_held(sent: tuple[str, ...]) -> None:
    assert classified(*sent).tier is Tier.IRREVERSIBLE


def batch(boundary: str, *calls: str) -> str:
    return "".join(f"--{boundary}\r\nContent-Type: application/http\r\n\r\n{call}\r\n" for call in calls)


GRAPH, GOOGLE = "https://graph.microsoft.com/v1.0/$batch", "https://www.googleapis.com/batch/drive/v3"
READ, GONE = "GET /drive/v3/files/f HTTP/1.1\r\n", "DELETE /drive/v3/files/f HTTP/1.1\r\n"
TWO_BODIES = f"{batch('b', READ)}{batch('a', GONE)}--a--\r\n--b--\r\n"
MIXED = "Content-Type: multipart/mixed; boundary=a; boundary=b"
UNDERSCORED = batch("b", "POST /drive/v3/files HTTP/1.1\r\nX_HTTP_Method_Override: DELETE\r\n") + "--b--\r\n"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "Name": "delete_all"}}


def graph(**members: object) -> str:
    return json.dumps({"requests": [{"id": "1", "method": "GET", "url": "/me/messages/m", **members}]})


REFUSED: dict[str, tuple[str, ...]] = {
    "two boundaries": ("POST", GOOGLE, TWO_BODIES, MIXED),
    "a Content-Type in the query": ("PATCH", f"{DATASETS}/d?%24ct=application/json", '{"access": []}', FORM_TYPE),
    "underscores in an override": ("POST", GOOGLE, UNDERSCORED, "Content-Type: multipart/mixed; boundary=b"),
    "a method in two spellings": ("POST", GRAPH, graph(Method="DELETE"), JSON_TYPE),
    "an override inside": ("POST", GRAPH, graph(method="POST", headers={"X-HTTP-Method": "DELETE"}), JSON_TYPE),
    "a tool in two spellings": ("POST", "https://mcp.example/mcp", json.dumps(CALL), JSON_TYPE),
    "and in an array": ("POST", "https://mcp.example/mcp", json.dumps([CALL]), JSON_TYPE),
    "a document in two spellings": (
        "POST", "https://api.github.com/graphql",
        '[{"query": "{ viewer { login } }", "Query": "mutation { deleteRef(input: {}) { x } }"}]', JSON_TYPE,
    ),
    "a document in another charset": (
        "POST", "https://api.github.com/graphql", "{ viewer { login } }",
        "Content-Type: application/graphql; charset=utf-7",
    ),
    "an override in form-data": (
        "POST", "https://app.asana.com/api/1.0/attachments",
        '--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--b--',
        "Content-Type: multipart/form-data; boundary=b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_two_parsers_read_differently_is_refused(sent: tuple[str, ...]) -> None:
    with pytest.raises(RequestAmbiguous):
        classified(*sent)


LET_THROUGH: dict[str, tuple[str, ...]] = {
    "an object as ever": ("PUT", "https://b.s3.amazonaws.com/k", "x", "x-amz-acl: private"),
    "the bucket's owner may": ("PUT", "https://b.s3.amazonaws.com/k", "x", "x-amz-acl: bucket-owner-full-control"),
    "a rehearsed patch": ("PATCH", f"{DEPLOYMENT}?dryRun=All", '{"spec": {"replicas": 2}}', JSON_TYPE),
    "a rehearsed delete": ("DELETE", f"{DEPLOYMENT}?dryRun=All"),
    "a rehearsed eviction": ("POST", f"{POD}/eviction?dryRun=All", "{}", JSON_TYPE),
    "a watch": ("GET", f"{K8S}/api/v1/watch/namespaces/a/pods"),
    "a file of a bot": ("GET", "https://api.telegram.org/file/bot1:a/photos/1.jpg"),
    "a file of a workspace": ("GET", "https://files.slack.com/files-pri/T-F/download/x"),
    "what is in a queue": ("GET", f"{SQS}/123456789012/jobs?Action=GetQueueAttributes&Version=2012-11-05"),
    "a message to a queue": ("POST", f"{SQS}/123456789012/jobs", "Action=SendMessage&MessageBody=x", FORM_TYPE),
    "an issue by OAuth": ("GET", "https://api.atlassian.com/ex/jira/1/rest/api/3/issue/A-1"),
    "a customer's name": ("POST", "https://api.stripe.com/v1/customers/c", "name=x", FORM_TYPE),
    "a record": ("POST", f"https://a.my.salesforce.com/{SALESFORCE}/Account", "{}", JSON_TYPE),
    "an uploaded JSON": ("POST", f"{UPLOADS}?uploadType=media&name=k", '{"acl": []}', JSON_TYPE),
    "an upload's name": ("POST", f"{UPLOADS}?uploadType=resumable", '{"name": "k"}', JSON_TYPE),
    "a dataset's description": ("PATCH", f"{DATASETS}/d", '{"description": "x"}', JSON_TYPE),
    "a page of a batch": ("POST", GRAPH, graph(headers={"Prefer": "x"}, dependsOn=["0"]), JSON_TYPE),
}  # fmt: skip


@pytest.mark.parametrize("sent", LET_THROUGH.values(), ids=LET_THROUGH)
def test_what_is_harmless_beside_it_still_passes(sent: tuple[str, ...]) -> None:
    assert classified(*sent).tier is not Tier.IRREVERSIBLE


@pytest.mark.parametrize(
    "tool",
    [
        *(
            "apply_migration",
            "disableUser",
            "uninstall_app",
            "unpublish",
            "rollback",
            "flush_cache",
            "restart_vm",
            "rm",
        ),
        *("finalize_invoice", "rotate_key", "create_api_key", "set_permission", "archive_repo", "force_push", "rm"),
    ],
)
def test_a_tool_whose_name_sounds_of_loss_is_held(tool: str) -> None:
    call = CALL | {"params": {"name": tool}}
    assert classified("POST", "https://mcp.example/mcp", json=call).tier is Tier.IRREVERSIBLE


@pytest.mark.parametrize("tool", ["list_migrations", "get_token", "list_archived", "read_file", "list_closed_issues"])
def test_a_tool_that_reads_what_others_lose_is_not(tool: str) -> None:
    assert classified("POST", "https://mcp.example/mcp", json=CALL | {"params": {"name": tool}}).tier is Tier.VISIBLE
