"""An agent with boto3 at its default settings: describes instances, or terminates the one it is given."""

import json
import sys

import boto3

ec2 = boto3.client("ec2")
if sys.argv[1:]:
    (change,) = ec2.terminate_instances(InstanceIds=sys.argv[1:])["TerminatingInstances"]
    print(json.dumps({"now": change["CurrentState"]["Name"]}), flush=True)
else:
    found = [one["InstanceId"] for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    print(json.dumps({"instances": found}), flush=True)
