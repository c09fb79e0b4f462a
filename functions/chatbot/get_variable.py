from chatbot import variables
from chatbot.api import AccountRequest, api
from chatbot.tables import VariableTable
from kernel.grants import read


@api.post("/getVariable", uses=[read(VariableTable)])
def get_variable(request: AccountRequest) -> variables.VariableList:
    """List the variable names of a channel in the order of their creation."""
    return variables.VariableList(data=variables.names(request.partition))
