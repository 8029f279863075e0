"""An agent with googleapiclient at its default settings: looks at a file of Drive, or deletes it."""

import json
import sys

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build

do, name = sys.argv[1:]
files = build("drive", "v3", credentials=Credentials("ya29.agent")).files()
print(json.dumps(files.get(fileId=name).execute() if do == "get" else {"deleted": files.delete(fileId=name).execute()}))
