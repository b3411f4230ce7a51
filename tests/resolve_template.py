#!/usr/bin/env python3
"""Prints template.yaml as CloudFormation would deploy it: resolve_template.py [KEY=VALUE ...]

SAM's translator expands the serverless resources, SAM CLI's intrinsic resolver evaluates functions
and conditions, with the parameters given here and the defaults of the others. A resource's
physical name is its logical id (a bucket's, in small letters). The output is one JSON object:

  {"parameters": {name: value},
   "resources": {logical id: {"type", "name", "arn" where there is one, "properties"}},
   "outputs": {name: value}}

The test world takes names, environment, limits and policies from it. Ends with an error when a
parameter does not fit, a rule of the template refuses it, or a function is left unresolved.
"""

import json
import logging
import os
import pathlib
import re
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # boto3 reads it when it is imported

import yaml
from samcli.lib.intrinsic_resolver.intrinsic_property_resolver import IntrinsicResolver
from samcli.lib.intrinsic_resolver.intrinsics_symbol_table import IntrinsicsSymbolTable
from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of metrics that it did not send
TEMPLATE = pathlib.Path(__file__).parent.parent / "template.yaml"
REGION, ACCOUNT, STACK = "us-east-1", "123456789012", "s3-virusscan"
NO_VALUE = "<no value>"  # the resolver has no notion of it
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": NO_VALUE,
}


class Number(str):
    """A Number parameter: text within a function, as CloudFormation has it; a number at the end."""


class Symbols(IntrinsicsSymbolTable):
    def resolve_symbols(self, logical_id, resource_attribute, ignore_errors=False):
        # Sub asks to ignore errors, and would leave a text that looks resolved.
        return super().resolve_symbols(logical_id, resource_attribute)


def fail(message):
    sys.exit(f"resolve_template: {message}")


def read(name, parameter, text):
    """The value of a parameter, checked as CloudFormation checks it."""
    allowed = [str(value) for value in parameter.get("AllowedValues", [text])]
    kind, pattern = parameter["Type"], parameter.get("AllowedPattern", "(?s).*")
    fits = text in allowed and re.fullmatch(pattern, text)
    if kind == "Number":
        fits = fits and parameter.get("MinValue", int(text)) <= int(text) <= parameter.get("MaxValue", int(text))
    if not fits or text == NO_VALUE:
        fail(f"parameter {name} cannot be `{text}`: {parameter}")
    if kind == "CommaDelimitedList":
        return [member.strip() for member in text.split(",")]
    return Number(text) if kind == "Number" else text


def attributes(name, kind):
    """What Ref and GetAtt say about a resource. Ref is the name, where nothing else is said."""
    def arn(service, path, region=REGION, account=ACCOUNT):
        return f"arn:aws:{service}:{region}:{account}:{path}"

    bucket = f"{STACK}-{name}".lower()
    queue = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
    return {"Ref": name} | {
        "AWS::CloudWatch::Alarm": {"Arn": arn("cloudwatch", f"alarm:{name}")},
        "AWS::Events::Rule": {"Arn": arn("events", f"rule/{name}")},
        "AWS::IAM::Role": {"Arn": arn("iam", f"role/{name}", region="")},
        "AWS::Lambda::Function": {"Arn": arn("lambda", f"function:{name}")},
        "AWS::Lambda::LayerVersion": {"Ref": arn("lambda", f"layer:{name}:1")},
        "AWS::Logs::LogGroup": {"Arn": arn("logs", f"log-group:{name}:*")},
        "AWS::S3::Bucket": {"Ref": bucket, "Arn": arn("s3", bucket, region="", account="")},
        "AWS::SNS::Topic": {"Ref": arn("sns", name), "Arn": arn("sns", name), "TopicName": name},
        "AWS::SQS::Queue": {"Ref": queue, "Arn": arn("sqs", name), "QueueName": name},
        # What the function answers is not known before it runs.
        "Custom::BucketWiring": {"QuarantinePolicy": "<BucketWiring.QuarantinePolicy>"},
    }.get(kind, {})


def plain(value):
    """Without what has no value, and with numbers as numbers - but Lambda's environment is text."""
    if isinstance(value, dict):
        if "Variables" in value:
            return {"Variables": {key: str(member) for key, member in value["Variables"].items()}}
        return {key: plain(member) for key, member in value.items() if member != NO_VALUE}
    if isinstance(value, list):
        return [plain(member) for member in value if member != NO_VALUE]
    return int(value) if isinstance(value, Number) else value


def resolve(overrides):
    source = yaml_parse(TEMPLATE.read_text())
    if unknown := overrides.keys() - source["Parameters"].keys():
        fail(f"the template has no parameter {', '.join(sorted(unknown))}")
    values = {
        name: read(name, parameter, str(overrides.get(name, parameter.get("Default", NO_VALUE))))
        for name, parameter in source["Parameters"].items()
    }
    no_managed_policies = type("NoPolicies", (), {"load": staticmethod(dict)})
    template = SamTemplateValidator(source, no_managed_policies, region=REGION).get_translated_template_if_valid()
    template = yaml.safe_load(template)
    for name, value in values.items():
        template["Parameters"][name]["Default"] = value
    resources = template["Resources"]
    known = {key: attributes(key, resource["Type"]) for key, resource in resources.items()}
    symbols = Symbols(template, {**PSEUDO, **known})
    symbols.default_type_resolver = symbols.common_attribute_resolver = {}  # all that is known is above
    resolver = IntrinsicResolver(template, symbols)

    def value_of(item):
        return plain(resolver.intrinsic_property_resolver(item, False))

    def is_deployed(item):
        return "Condition" not in item or value_of(template["Conditions"][item["Condition"]])

    def choose(arguments, _):  # only one branch: the other need not make sense
        condition, then, otherwise = arguments
        chosen = then if is_deployed({"Condition": condition}) else otherwise
        return resolver.intrinsic_property_resolver(chosen, False)

    resolver.conditional_key_function_map["Fn::If"] = choose
    for name, rule in template["Rules"].items():
        for assertion in rule["Assertions"] if value_of(rule["RuleCondition"]) else []:
            if not value_of(assertion["Assert"]):
                fail(f"rule {name}: {assertion['AssertDescription']}")
    result = {"parameters": plain(values), "resources": {}, "outputs": {}}
    for key, resource in filter(lambda item: is_deployed(item[1]), resources.items()):
        name = known[key]["Ref"] if resource["Type"] == "AWS::S3::Bucket" else key
        arn = {"arn": known[key]["Arn"]} if "Arn" in known[key] else {}
        properties = value_of(resource.get("Properties", {}))
        result["resources"][key] = {"type": resource["Type"], "name": name, **arn, "properties": properties}
    for key, output in filter(lambda item: is_deployed(item[1]), template["Outputs"].items()):
        result["outputs"][key] = value_of(output["Value"])
    if left := re.search(rf'.{{0,40}}(\$\{{|"Fn::|"Ref":|"Condition": "|{NO_VALUE})', json.dumps(result)):
        fail(f"left unresolved: {left.group()}")
    return result


if __name__ == "__main__":
    if wrong := [argument for argument in sys.argv[1:] if "=" not in argument]:
        fail(f"expected KEY=VALUE, not {', '.join(wrong)}")
    print(json.dumps(resolve(dict(argument.split("=", 1) for argument in sys.argv[1:])), indent=2))
