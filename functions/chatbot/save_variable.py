from chatbot import variables
from chatbot.api import api
from chatbot.tables import VariableTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post("/saveVariable", uses=[read(VariableTable), write(VariableTable), append(AuditTable)])
def save_variable(request: variables.VariableNames) -> None:
    """Add variable names to a channel; those already there stay."""
    variables.add(request.partition, request.account_variable)
