"""A system's data: what outlives its code, in a stack that a release of functions does not touch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aws_cdk import Duration, Environment, Stack
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager

from infra.findings import accept
from infra.queues import add_queue
from infra.tables import add_table

if TYPE_CHECKING:
    from constructs import Construct

    from infra.discovery import System
    from infra.stages import Stage

ID_TOKEN = Duration.minutes(60)
REFRESH_TOKEN = Duration.days(30)
SIGNING_SECRET_LENGTH = 64
# What a new stage sends SMS with: nothing, until somebody puts the account's own values into the secret.
_NO_SMS_ACCOUNT = {"accessKeyId": "unset", "signName": "unset", "templateCode": "unset"}


class DataStack(Stack):
    """User pool, tables, queues, the signing secret of one system, and what else its functions were granted."""

    def __init__(self, scope: Construct, stage: Stage, where: Environment, system: System, *, key: kms.IKey) -> None:
        """Build everything of a system that keeps state."""
        super().__init__(
            scope, f"citypass-{stage.name}-{system.name}-data", env=where, termination_protection=not stage.local
        )
        self.key = key
        self.pool = _pool(self, stage, system.name)
        self.pool_client = _pool_client(self.pool)
        self.signing_secret = _signing_secret(self, stage, system.name, key)
        granted = {grant.verb for function in system.functions for grant in function.uses}
        certifies = granted & {"certify", "check_certificate"}
        self.certificate_key = _certificate_key(self, stage, system.name) if certifies else None
        self.sms_secret = _sms_secret(self, stage, system.name, key) if "sms" in granted else None
        for table in system.tables:
            add_table(self, stage, system.name, table, key)
        for queue in system.queues:
            add_queue(self, stage, system.name, queue)


def _pool(scope: Construct, stage: Stage, system: str) -> cognito.UserPool:
    pool = cognito.UserPool(
        scope,
        "Pool",
        user_pool_name=stage.resource(system, "operators"),
        # Operators are named like '0001' in the contracts and created by an administrator.
        sign_in_aliases=cognito.SignInAliases(username=True),
        sign_in_case_sensitive=True,
        self_sign_up_enabled=False,
        account_recovery=cognito.AccountRecovery.NONE,
        mfa=cognito.Mfa.OFF,
        password_policy=cognito.PasswordPolicy(
            min_length=12,
            require_digits=True,
            require_lowercase=True,
            require_symbols=True,
            require_uppercase=True,
            temp_password_validity=Duration.days(3),
        ),
        deletion_protection=not stage.local,
        removal_policy=stage.removal,
    )
    accept(
        pool,
        "AwsSolutions-COG2",
        "The documented sign-in is one call with name and password; it has no step for a second factor",
    )
    accept(
        pool,
        "AwsSolutions-COG8",
        "Threat protection needs the Plus plan; the sign-in counts failures per account and address itself",
    )
    return pool


def _pool_client(pool: cognito.UserPool) -> cognito.UserPoolClient:
    return pool.add_client(
        "Client",
        auth_flows=cognito.AuthFlow(admin_user_password=True),
        disable_o_auth=True,
        enable_token_revocation=True,
        generate_secret=False,
        id_token_validity=ID_TOKEN,
        access_token_validity=ID_TOKEN,
        refresh_token_validity=REFRESH_TOKEN,
        prevent_user_existence_errors=True,
    )


def _signing_secret(scope: Construct, stage: Stage, system: str, key: kms.IKey) -> secretsmanager.Secret:
    secret = secretsmanager.Secret(
        scope,
        "SigningSecret",
        secret_name=stage.resource(system, "signing"),
        description="Signs cursors and tokens that callers hand back",
        encryption_key=key,
        generate_secret_string=secretsmanager.SecretStringGenerator(
            password_length=SIGNING_SECRET_LENGTH, exclude_punctuation=True
        ),
        removal_policy=stage.removal,
    )
    accept(
        secret,
        "AwsSolutions-SMG4",
        "A new value ends every cursor and token callers hold, so it is changed on purpose, not on a timer",
    )
    return secret


def _certificate_key(scope: Construct, stage: Stage, system: str) -> kms.Key:
    # It stays with what it signed: without it nobody can check that again.
    return kms.Key(
        scope,
        "CertificateKey",
        alias=stage.resource(system, "certificates"),
        description="Signs certificates, which anybody may check",
        key_spec=kms.KeySpec.ECC_NIST_P256,
        key_usage=kms.KeyUsage.SIGN_VERIFY,
        removal_policy=stage.removal,
    )


def _sms_secret(scope: Construct, stage: Stage, system: str, key: kms.IKey) -> secretsmanager.Secret:
    secret = secretsmanager.Secret(
        scope,
        "SmsSecret",
        secret_name=stage.resource(system, "sms"),
        description="The account that sends SMS: accessKeyId, accessKeySecret, signName, templateCode",
        encryption_key=key,
        generate_secret_string=secretsmanager.SecretStringGenerator(
            secret_string_template=json.dumps(_NO_SMS_ACCOUNT),
            generate_string_key="accessKeySecret",
            exclude_punctuation=True,
        ),
        removal_policy=stage.removal,
    )
    accept(
        secret,
        "AwsSolutions-SMG4",
        "The account belongs to another company, whose console makes its keys; somebody puts them here",
    )
    return secret
