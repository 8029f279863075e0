"""An agent with PyGithub at its default settings, that deletes repositories named on its command line."""

import json
import sys

import github

client = github.Github(auth=github.Auth.Token("ghp_agent"))
for name in sys.argv[1:]:
    try:
        client.get_repo(name).delete()
        print(json.dumps({"deleted": name}), flush=True)
    except github.GithubException as error:
        print(json.dumps({"status": error.status, "data": error.data}), flush=True)
