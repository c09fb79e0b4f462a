"""Findings of the rule checkers that we live with, each at its resource and with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Acknowledgment, Validations

if TYPE_CHECKING:
    from constructs import IConstruct


def accept(construct: IConstruct, rule: str, reason: str) -> None:
    """Accept the finding of one rule at one construct."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))
