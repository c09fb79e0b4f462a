from chatbot import variables
from chatbot.api import api
from chatbot.tables import VariableTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post("/deleteVariable", uses=[read(VariableTable), write(VariableTable), append(AuditTable)])
def delete_variable(request: variables.VariableNames) -> None:
    """Remove variable names from a channel; collected values stay in the history."""
    variables.remove(request.partition, request.account_variable)
