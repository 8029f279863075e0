"""An agent with the client of Kubernetes, its cluster from `KUBECONFIG`: reads a namespace, or deletes it."""

import json
import os
import sys
from urllib.parse import urlsplit

import urllib3
from kubernetes import client, config

configuration = client.Configuration()
config.load_kube_config(client_configuration=configuration)
proxy = urlsplit(os.environ["HTTPS_PROXY"])  # the client takes it from there too, but leaves out name and key
configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=f"{proxy.username}:{proxy.password}")
core = client.CoreV1Api(client.ApiClient(configuration))
do, name = sys.argv[1:]
if do == "get":
    print(json.dumps({"phase": core.read_namespace(name).status.phase}), flush=True)
else:
    print(json.dumps({"status": core.delete_namespace(name)["status"]}), flush=True)
