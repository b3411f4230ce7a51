#!/usr/bin/env python3
"""Checks template.yaml beyond what the linters do, and checks the checks.

- The rules of rules.guard hold, and each fails on a template that breaks it.
- resolve_template.py resolves the template with several sets of parameters, obeys conditions, and
  refuses what CloudFormation would refuse.
- The Terraform example names parameters and outputs that the template has.
- The delivery policies in the examples retry for nearly an hour, which SNS allows; their filter
  policies are some of docs/SUBSCRIBING.md, which a suite tries.
"""

import copy
import json
import pathlib
import re
import sys

import hcl2
from cfn_guard_rs.cfn_guard_rs import run_checks_rs
from samcli.yamlhelper import yaml_parse

import resolve_template

TESTS = pathlib.Path(__file__).parent
TEMPLATE = json.loads(json.dumps(yaml_parse((TESTS.parent / "template.yaml").read_text())))
RULES = (TESTS / "rules.guard").read_text()
NOTHING = object()

# For each rule: what breaks it, as paths with the value to put there, NOTHING for leaving it out.
BREAKS = {
    "functions_end_within_lambdas_limit": [
        ("Resources/DefinitionsFunction/Properties/Timeout", 901),
        ("Parameters/Timeout/AllowedValues/4", 901),
    ],
    "functions_log_json_to_our_groups": [
        ("Resources/BucketsFunction/Properties/LoggingConfig/LogFormat", "Text"),
        ("Resources/ScannerFunction/Properties/LoggingConfig/LogGroup", NOTHING),
        ("Resources/ScannerLogGroup/Properties/RetentionInDays", NOTHING),
    ],
    "functions_have_roles_of_ours": [
        ("Resources/BucketsFunction/Properties/Role", NOTHING),
        ("Resources/BucketsFunction/Properties/Policies", ["AmazonS3FullAccess"]),
    ],
    "nothing_has_a_fixed_name": [
        ("Resources/ScannerFunction/Properties/FunctionName", "scanner"),
        ("Resources/ScannerRole/Properties/RoleName", "scanner"),
        ("Resources/FindingsTopic/Properties/TopicName", "findings"),
    ],
    "roles_have_the_boundary": [
        ("Resources/DefinitionsRole/Properties/PermissionsBoundary", NOTHING),
        ("Resources/BucketsRole/Properties/ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
    ],
    "roles_name_their_actions": [
        ("Resources/ScannerRole/Properties/Policies/0/PolicyDocument/Statement/0/Action", "*"),
        ("Resources/ScannerRole/Properties/Policies/0/PolicyDocument/Statement/0/Action/0", "logs:*"),
        ("Resources/ScannerRole/Properties/Policies/0/PolicyDocument/Statement/4/Fn::If/1/Action/0", "kms:*"),
        ("Resources/BucketsQuarantinePolicy/Properties/PolicyDocument/Statement/0/Action/0", "s3:*"),
    ],
    "principals_have_conditions": [
        ("Resources/ScanQueuePolicy/Properties/PolicyDocument/Statement/0/Condition", NOTHING),
        ("Resources/ScannerS3Permission/Properties/SourceAccount", NOTHING),
    ],
    "only_tls": [("Resources/DefinitionsBucketPolicy/Properties/PolicyDocument/Statement/0/Condition", {"Bool": {}})],
    "queues_keep_messages_14_days": [
        ("Resources/ScanQueueDLQ/Properties/MessageRetentionPeriod", 345600),
        ("Resources/ScanQueue/Properties/MessageRetentionPeriod", NOTHING),
        ("Resources/ScanQueue/Properties/SqsManagedSseEnabled", False),
    ],
    "visibility_is_six_timeouts": [
        ("Mappings/VisibilityTimeouts/300/Seconds", 300),
        ("Resources/ScanQueue/Properties/VisibilityTimeout", 300),
    ],
    "the_scanner_knows_its_last_try": [
        ("Resources/ScanQueue/Properties/RedrivePolicy/maxReceiveCount", 4),
        ("Resources/ScannerFunction/Properties/Environment/Variables/MAX_RECEIVE_COUNT", "4"),
        ("Resources/ScannerFunction/Properties/Environment/Variables/MAX_RECEIVE_COUNT", NOTHING),
    ],
    "batches_are_answered_in_part": [("Resources/ScanQueueMapping/Properties/FunctionResponseTypes", NOTHING)],
    "failed_events_reach_the_dead_letter_queue": [
        ("Resources/ScannerFunction/Properties/DeadLetterQueue", NOTHING),
        ("Resources/ScanQueue/Properties/RedrivePolicy", NOTHING),
    ],
    "definitions_come_first": [
        ("Resources/ScanQueueMapping/DependsOn", NOTHING),
        ("Resources/BucketWiring/DependsOn/0", "ScannerRole"),
        ("Resources/FirstDefinitions/Properties/ServiceTimeout", NOTHING),
    ],
    "buckets_are_closed": [
        ("Resources/DefinitionsBucket/Properties/PublicAccessBlockConfiguration/BlockPublicAcls", False),
        ("Resources/DefinitionsBucket/Properties/BucketEncryption", NOTHING),
    ],
    "alarms_say_what_silence_means": [("Resources/ScannerErrorsAlarm/Properties/TreatMissingData", NOTHING)],
    "outputs_are_exported": [("Outputs/DashboardName/Export", NOTHING), ("Outputs/ScanQueueUrl", NOTHING)],
}

QUEUE = "arn:aws:sqs:us-east-1:123456789012:ScanQueue"
TOPIC = "arn:aws:sns:us-east-1:123456789012:Theirs"
BUSES = "arn:aws:events:us-east-1:123456789012:event-bus/"
BUS = "arn:aws:events:eu-west-1:210987654321:event-bus/theirs"
TWO = "BucketNames=one,two"
# Parameters, a path into what resolve_template.py makes of them, and what stands there.
RESOLVED = [
    ([], "resources/ScanQueue/properties/VisibilityTimeout", 1800),
    (["Timeout=900"], "resources/ScanQueue/properties/VisibilityTimeout", 5400),
    (["Timeout=900"], "resources/ScannerFunction/properties/Timeout", 900),
    (["DefinitionsStaleHours=9"], "resources/ScannerFunction/properties/Environment/Variables/DEFINITIONS_STALE_HOURS", "9"),
    ([], "resources/ObjectCreatedRule", NOTHING),
    (["Trigger=eventbridge"], "resources/ObjectCreatedRule/properties/EventPattern/detail", NOTHING),
    (["Trigger=eventbridge", TWO], "resources/ObjectCreatedRule/properties/EventPattern/detail/bucket/name", ["one", "two"]),
    ([], "resources/BucketWiring/properties/BucketNames", []),
    ([], "resources/BucketWiring/properties/TargetArn", QUEUE),
    (["Trigger=eventbridge"], "resources/BucketWiring/properties/TargetArn", ""),
    ([], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/7/Resource", "*"),
    ([TWO], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/6/Resource", ["arn:aws:s3:::one", "arn:aws:s3:::two"]),
    ([TWO], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/7/Resource", ["arn:aws:s3:::one/*", "arn:aws:s3:::two/*"]),
    ([TWO, "S3ObjectRestriction=*"], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/7/Resource", ["*"]),
    ([], "resources/ScannerFunction/properties/Environment/Variables/RESULT_EVENT_BUS", ""),
    ([f"ResultEventBus={BUS}"], "resources/ScannerFunction/properties/Environment/Variables/RESULT_EVENT_BUS", BUS),
    (["ResultEventBus=default"], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/4/Resource", f"{BUSES}default"),
    (["ResultEventBus=default"], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/5/Resource", f"{BUSES}default"),
    ([f"ResultEventBus={BUS}"], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/4/Resource", BUS),
    ([f"ResultEventBus={BUS}"], "resources/ScannerRole/properties/Policies/0/PolicyDocument/Statement/5/Resource", BUS),
    (["ReserveConcurrency=false"], "resources/DefinitionsFunction/properties/ReservedConcurrentExecutions", NOTHING),
    ([f"ExistingFindingsTopicArn={TOPIC}"], "resources/FindingsTopic", NOTHING),
    ([f"ExistingFindingsTopicArn={TOPIC}"], "outputs/FindingsTopicName", "Theirs"),
]
REFUSED = [
    ([TWO, "QuarantinePolicy=attach", "TagFiles=false"], "rule QuarantineNeedsTags"),
    (["QuarantinePolicy=attach"], "rule QuarantineNeedsBuckets"),
    ([f"ExistingFindingsTopicArn={TOPIC}", "FindingsTopicSignatureVersion=2"], "rule SignatureVersionIsOfOurTopic"),
    ([f"ExistingFindingsTopicArn={TOPIC}", f"ExistingAlarmsTopicArn={TOPIC}"], "rule FindingsAndAlarmsApart"),
    (["Timeout=301"], "parameter Timeout"),
    (["ResultEventBus=a/b"], "parameter ResultEventBus"),
    (["ResultEventBus=arn:aws:events:eu-west-1:210987654321:rule/theirs"], "parameter ResultEventBus"),
    (["MaximumConcurrency=1"], "parameter MaximumConcurrency"),
    (["TagKey=aws:x"], "parameter TagKey"),
    (["BucketNames=one, two"], "parameter BucketNames"),
    (["Nonsense=1"], "no parameter Nonsense"),
]


def at(value, path):
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value.get(key, NOTHING)
        if value is NOTHING:
            return NOTHING
    return value


def broken(path, value):
    template = copy.deepcopy(TEMPLATE)
    *way, last = path.split("/")
    place = at(template, way)
    if value is NOTHING:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return template


def rules_that_hold(template):
    # Not the whole report: cfn-guard-rs 0.3.3 garbles the beginning of some, where failures stand.
    report = run_checks_rs(json.dumps(template), RULES, False)
    end = re.search(r'"compliant": (\[[^]]*\])\s*\}\s*$', report)
    return set(json.loads(end[1])) if end else set()


def resolve(arguments):
    """What resolve_template.py makes of them: the template, or the reason of a refusal."""
    try:
        return resolve_template.resolve(dict(argument.split("=", 1) for argument in arguments))
    except SystemExit as refusal:
        return str(refusal)


def guard():
    rules = set(re.findall(r"(?m)^rule (\w+)", RULES))
    yield from (f"rules.guard: {rule} does not hold" for rule in rules - rules_that_hold(TEMPLATE))
    yield from (f"rules.guard: {rule} is a rule that nothing breaks, or none" for rule in rules ^ BREAKS.keys())
    for rule, breaks in BREAKS.items():
        for path, value in breaks:
            still = rules_that_hold(broken(path, value))
            if rule in still or not still:
                yield f"rules.guard: {rule} holds although {path} is {'missing' if value is NOTHING else value}"


def resolver():
    answers = {}
    for arguments, path, expected in RESOLVED:
        answer = answers.get(tuple(arguments)) or resolve(arguments)
        answers[tuple(arguments)] = answer
        found = answer if isinstance(answer, str) else at(answer, path.split("/"))
        if found != expected:
            yield f"resolve_template.py {' '.join(arguments)}: {path} is {found}, not {expected}"
    for arguments, expected in REFUSED:
        answer = resolve(arguments)
        if not isinstance(answer, str) or expected not in answer:
            yield f"resolve_template.py {' '.join(arguments)}: not refused with {expected}: {answer}"


def terraform():
    text = ""
    for file in sorted((TESTS.parent / "examples/terraform").glob("*.tf")):
        text += file.read_text()
        hcl2.loads(file.read_text())
    parameters = re.search(r"\n  parameters = \{\n(.*?)\n  \}", text, re.DOTALL)[1]
    named = set(re.findall(r"(?m)^    (\w+) +=", parameters))
    outputs = set(re.findall(r's3_virusscan\.outputs\["(\w+)"\]', text))
    if not named or not outputs:
        yield "examples/terraform: neither parameters nor outputs found"
    yield from (f"examples/terraform: the template has no parameter {name}" for name in named - TEMPLATE["Parameters"].keys())
    yield from (f"examples/terraform: the template has no output {name}" for name in outputs - TEMPLATE["Outputs"].keys())


def delivery_policies():
    """SNS allows 100 retries within 3,600 seconds; how a backoff function spaces them is not said."""
    for name in ("examples/subscriptions/template.yaml", "examples/terraform/main.tf"):
        text = (TESTS.parent / name).read_text()
        number = lambda field: int(re.search(rf"\b{field} *[:=] *(\d+)", text)[1])
        retries, at_once, first, last = map(number, ("numRetries", "numNoDelayRetries", "numMinDelayRetries", "numMaxDelayRetries"))
        shortest, longest = number("minDelayTarget"), number("maxDelayTarget")
        between = retries - at_once - first - last
        known = first * shortest + last * longest
        least, most = known + between * shortest, known + between * longest
        if not (0 <= between and retries <= 100 and 2850 <= least and most <= 3600):
            yield f"{name}: {retries} retries, {between} of them between, in {least} to {most} seconds"


def filter_policies():
    blocks = re.findall(r"```json\n(.*?)\n```", (TESTS.parent / "docs/SUBSCRIBING.md").read_text(), re.DOTALL)
    documented = [json.loads(block) for block in blocks]
    template = yaml_parse((TESTS.parent / "examples/subscriptions/template.yaml").read_text())
    resources = template["Resources"].items()
    policies = {name: json.loads(json.dumps(of["Properties"]["FilterPolicy"])) for name, of in resources if "FilterPolicy" in of["Properties"]}
    if not policies:
        yield "examples/subscriptions: no filter policy found"
    yield from (f"examples/subscriptions: the filter policy of {name} is not in docs/SUBSCRIBING.md" for name, policy in policies.items() if policy not in documented)


if __name__ == "__main__":
    if problems := [problem for check in (guard, resolver, terraform, delivery_policies, filter_policies) for problem in check()]:
        sys.exit("\n".join(problems))
