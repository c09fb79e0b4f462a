"""What a role allows: exactly what was granted, on exactly what the grant names."""

import json
import re

import pytest

from infra.discovery import declarations, systems
from infra.permissions import Resources, statements
from kernel.files import Folder
from kernel.grants import certify, remove, set_passwords, sign, sms
from kernel.jobs import Job, Worker

DYNAMODB = "arn:<AWS::Partition>:dynamodb:<AWS::Region>:<AWS::AccountId>:table/citypass-prod-sample-"
SQS = "arn:<AWS::Partition>:sqs:<AWS::Region>:<AWS::AccountId>:citypass-prod-sample-"
KEY = "<citypass-prod-platform:ExportsOutputFnGetAttKey961B73FDArn5A860C43>"
LINES = "<FunctionsLines.Arn>"
OWN_TEXTS = {"Null": {"kms:EncryptionContext:part": "false"}}
WRITE_KEY = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
]


def through(service):
    return {"StringEquals": {"kms:ViaService": f"{service}.<AWS::Region>.amazonaws.com"}}


@pytest.fixture
def allowed(sample, plain):
    def allowed(function, made=sample, stack="sample"):
        (policy,) = made.role(stack, function)["Policies"]
        found = plain(policy["PolicyDocument"]["Statement"])
        assert all(statement.pop("Effect") == "Allow" for statement in found)
        return [
            (resource, one["Action"], one.get("Condition"))
            for one in found
            for resource in (one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]])
        ]

    return allowed


def test_read_append_encrypt_decrypt(allowed):
    assert allowed("list_parts") == [
        (f"{DYNAMODB}things", ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"], None),
        (f"{DYNAMODB}things/index/by-owner", ["dynamodb:Query"], None),
        (f"{DYNAMODB}log", ["dynamodb:PutItem"], None),
        (KEY, ["kms:Decrypt", "kms:Encrypt"], OWN_TEXTS),
        (KEY, WRITE_KEY, through("dynamodb")),
        (LINES, ["logs:CreateLogStream", "logs:PutLogEvents"], None),
    ]


def test_write_and_sign(allowed):
    (table, secret, data_key, secret_key, lines) = allowed("save_thing")

    write = ["BatchWriteItem", "ConditionCheckItem", "DeleteItem", "PutItem", "UpdateItem"]
    assert table == (f"{DYNAMODB}things", [f"dynamodb:{action}" for action in write], None)
    assert secret[0].startswith("<citypass-prod-sample-data:ExportsOutputRefSigningSecret")
    assert secret[1:] == (["secretsmanager:GetSecretValue"], None)
    assert data_key == (KEY, WRITE_KEY, through("dynamodb"))
    assert secret_key == (KEY, ["kms:Decrypt"], through("secretsmanager"))
    assert lines[0] == LINES


def test_send(allowed):
    assert allowed("take_events") == [
        (KEY, ["kms:Decrypt"], OWN_TEXTS),
        (f"{SQS}events.fifo", ["sqs:GetQueueUrl", "sqs:SendMessage"], None),
        (LINES, ["logs:CreateLogStream", "logs:PutLogEvents"], None),
    ]


IMAGES = "arn:<AWS::Partition>:s3:::citypass-prod-files-<AWS::AccountId>-<AWS::Region>/images/sample/*"


def test_files_are_fetched(allowed):
    assert allowed("show_image") == [
        (IMAGES, ["s3:GetObject"], None),
        (KEY, ["kms:Decrypt"], through("s3")),
        (LINES, ["logs:CreateLogStream", "logs:PutLogEvents"], None),
    ]


def test_files_are_stored_and_removed_with_what_is_left_of_them(allowed):
    files, _, key, _ = allowed("save_image")

    actions = ["AbortMultipartUpload", "DeleteObject", "DeleteObjectVersion", "PutObject"]
    assert files == (IMAGES, [f"s3:{action}" for action in actions], None)
    assert key == (KEY, ["kms:Decrypt", "kms:GenerateDataKey"], through("s3"))


def test_files_are_fetched_and_stored_by_one_role(allowed):
    files, key, *_ = allowed("draw_thing")

    assert files == (IMAGES, ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], None)
    assert key == (KEY, ["kms:Decrypt", "kms:GenerateDataKey"], through("s3"))


def test_removing_needs_no_key(sample):
    place = Resources(sample.stage, "sample", "key", "pool", "pool", "client", "secret", "https://sample.test")

    (statement,) = statements([remove(Folder("exports"))], place)

    assert statement["Action"] == ["s3:DeleteObject", "s3:DeleteObjectVersion"]


def test_partner_key_reads_its_own_table(allowed):
    resources = [resource for resource, _, _ in allowed("find_things")]

    assert resources == [f"{DYNAMODB}partner-keys", f"{DYNAMODB}things", f"{DYNAMODB}things/index/by-owner", KEY, LINES]
    assert allowed("find_things")[3][1:] == (["kms:Decrypt", "kms:DescribeKey"], through("dynamodb"))


def test_tables_with_the_same_actions_share_a_statement(sample, plain):
    (policy,) = sample.role("sample", "find_things")["Policies"]

    resources = [plain(statement["Resource"]) for statement in policy["PolicyDocument"]["Statement"]]
    assert resources[0] == [f"{DYNAMODB}partner-keys", f"{DYNAMODB}things"]


@pytest.mark.parametrize("stage", ["prod", "sample", "large"])
def test_policies_are_no_longer_than_iam_takes(stage, request, plain):
    """Characters without white space, with the longest texts that stand for what only AWS knows."""
    made = request.getfixturevalue(stage)
    longest = {"<AWS::Partition>": "aws-us-gov", "<AWS::Region>": "ap-northeast-1", "<AWS::AccountId>": "1" * 12}
    for stack, template in made.templates.items():
        resources = template["Resources"]
        for role in (one["Properties"] for one in resources.values() if one["Type"] == "AWS::IAM::Role"):
            text = json.dumps(plain([policy["PolicyDocument"] for policy in role.get("Policies", ())]))
            for name in re.findall(r"<(\w+)\.Arn>", text):
                function = resources[name]["Properties"].get("FunctionName", "x" * 40)
                text = text.replace(
                    f"<{name}.Arn>", f"arn:aws-us-gov:lambda:ap-northeast-1:{'1' * 12}:function:{function}"
                )
            for short, full in longest.items():
                text = text.replace(short, full)
            assert len(re.sub(r"\s", "", text)) < 10_240, (stack, role.get("Description"))


def test_sign_in(allowed):
    (pool, _) = allowed("login")

    assert pool[0].startswith("<citypass-prod-sample-data:ExportsOutputFnGetAttPool")
    assert pool[1:] == (["cognito-idp:AdminInitiateAuth"], None)


def test_certificates_use_their_own_key(allowed):
    (key, lines) = allowed("replace_thing")

    assert key[0].startswith("<citypass-prod-sample-data:ExportsOutputFnGetAttCertificateKey")
    assert key[1:] == (["kms:Sign", "kms:Verify"], None)
    assert lines[0] == LINES


def test_users_are_made_in_the_systems_own_pool(allowed):
    pool = allowed("change_thing")[0]

    assert pool[0].startswith("<citypass-prod-sample-data:ExportsOutputFnGetAttPool")
    assert pool[1:] == (["cognito-idp:AdminCreateUser", "cognito-idp:AdminSetUserPassword"], None)


def test_two_secrets_are_two_resources(allowed):
    _, first, second, key, lines = allowed("change_thing")

    assert first[0].startswith("<citypass-prod-sample-data:ExportsOutputRefSigningSecret")
    assert second[0].startswith("<citypass-prod-sample-data:ExportsOutputRefSmsSecret")
    assert first[1:] == second[1:] == (["secretsmanager:GetSecretValue"], None)
    assert key == (KEY, ["kms:Decrypt"], through("secretsmanager"))
    assert lines[0] == LINES


@pytest.mark.parametrize(
    ("grant", "resource"), [(sign(), "signing"), (sms(), "sms"), (certify(), "certificates"), (set_passwords(), "pool")]
)
def test_one_grant_alone_reaches_one_resource(sample, grant, resource):
    place = Resources(
        sample.stage, "sample", "key", "pool", "pool", "client", "signing", "https://sample.test", "certificates", "sms"
    )

    first, *_ = statements([grant], place)

    assert first["Resource"] == resource


def test_no_grant_leaves_the_log(allowed):
    assert allowed("redeem") == [(LINES, ["logs:CreateLogStream", "logs:PutLogEvents"], None)]


def test_worker_fetches_from_its_queue(allowed):
    fetch = ["ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage"]

    assert (f"{SQS}events.fifo", [f"sqs:{action}" for action in fetch], None) in allowed("note_event")


def test_job_keeps_its_failed_runs(allowed):
    kept = [entry for entry in allowed("clean_things") if entry[1] == ["sqs:SendMessage"]]

    assert [resource.startswith("<FailedRuns") for resource, _, _ in kept] == [True]


EVERY_FUNCTION = [(system, function) for system in systems() for function in declarations(system).functions]


@pytest.mark.parametrize(("system", "function"), EVERY_FUNCTION, ids=lambda value: getattr(value, "name", value))
def test_our_roles_allow_what_is_granted_and_no_more(system, function, prod, allowed):
    found = {
        (action, short(resource, system), next(iter(condition)) if condition else "")
        for resource, actions, condition in allowed(function.name, prod, system)
        for action in actions
    }

    assert found == set(granted(function))


def short(resource, system):
    if own := re.search(
        r"ExportsOutput(?:FnGetAtt|Ref)(Key|CertificateKey|Pool|SigningSecret|SmsSecret)[0-9A-F]{8}", resource
    ):
        return own[1]
    if kept := re.match(r"<(FailedRuns)[0-9A-F]{8}\.Arn>", resource):
        return kept[1]
    if files := re.fullmatch(rf"arn:<[^>]+>:s3:::citypass-prod-files-<[^>]+>-<[^>]+>/(\w+)/{system}/\*", resource):
        return f"files: {files[1]}"
    prefix = r"arn:<AWS::Partition>:(?:sqs|dynamodb):<AWS::Region>:<AWS::AccountId>:(?:table/)?citypass-prod-"
    return re.sub(f"^{prefix}{system}-", "", resource)


S3_NAMES = {
    "CreateMultipartUpload": ("PutObject",),
    "UploadPart": ("PutObject",),
    "CompleteMultipartUpload": ("PutObject",),
    "DeleteObject": ("DeleteObject", "DeleteObjectVersion"),
}


def granted(function):
    yield from (("logs:CreateLogStream", LINES, ""), ("logs:PutLogEvents", LINES, ""))
    own = {
        **dict.fromkeys(("encrypt", "decrypt"), ("Key", "Null")),
        **dict.fromkeys(("certify", "check_certificate"), ("CertificateKey", "")),
        **dict.fromkeys(("sign_in", "enroll", "set_passwords"), ("Pool", "")),
        "sign": ("SigningSecret", ""),
        "sms": ("SmsSecret", ""),
    }
    for grant in function.uses:
        resource = grant.resource
        for action in grant.actions:
            if grant.service == "dynamodb":
                yield f"dynamodb:{action}", resource.name, ""
                for index in resource.indexes() if action == "Query" else ():
                    yield "dynamodb:Query", f"{resource.name}/index/{index}", ""
                for key_action in WRITE_KEY if grant.verb != "read" else WRITE_KEY[:2]:
                    yield key_action, "Key", "StringEquals"
            elif grant.service == "s3":
                for name in S3_NAMES.get(action, (action,)):
                    yield f"s3:{name}", f"files: {resource.name}", ""
            elif grant.service == "sqs":
                yield f"sqs:{action.removesuffix('Batch')}", f"{resource.name}.fifo", ""
            else:
                yield (f"{grant.service}:{action}", *own[grant.verb])
        if grant.service == "s3" and grant.verb != "remove":
            yield "kms:Decrypt", "Key", "StringEquals"
        if grant.service == "s3" and grant.verb == "store":
            yield "kms:GenerateDataKey", "Key", "StringEquals"
        if grant.service == "secretsmanager":
            yield "kms:Decrypt", "Key", "StringEquals"
    if isinstance(function, Worker):
        for action in (
            "ChangeMessageVisibility",
            "DeleteMessage",
            "GetQueueAttributes",
            "GetQueueUrl",
            "ReceiveMessage",
        ):
            yield f"sqs:{action}", f"{function.queue.name}.fifo", ""
    if isinstance(function, Job):
        yield "sqs:SendMessage", "FailedRuns", ""


@pytest.mark.parametrize("stage", ["prod", "local", "sample"])
def test_no_role_of_a_system_has_a_wildcard(stage, request, plain):
    made = request.getfixturevalue(stage)
    for system in ["sample"] if stage == "sample" else systems():
        for role in made.properties(system, "AWS::IAM::Role"):
            for policy in role["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    assert not [action for action in statement["Action"] if "*" in action]
                    resources = plain(statement["Resource"])
                    for resource in [resources] if isinstance(resources, str) else resources:
                        # Files have names that are made while functions run.
                        own_files = re.sub(rf"(-files-[^/]+/[a-z]+/{system}/)\*$", r"\1", resource)
                        assert "*" not in own_files


def test_every_function_has_a_role_of_its_own(prod):
    for system in systems():
        functions = prod.properties(system, "AWS::Lambda::Function")
        roles = {function["Role"]["Fn::GetAtt"][0] for function in functions}
        assert len(roles) == len(functions) == len(declarations(system).functions)
