"""A command as an agent's shell runs it, and what it said as one line of JSON."""

import json
import subprocess
import sys

done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False)
print(json.dumps({"code": done.returncode, "said": done.stdout, "errors": done.stderr}), flush=True)
