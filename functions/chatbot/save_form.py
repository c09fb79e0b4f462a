from chatbot import forms
from chatbot.api import api
from chatbot.tables import FormTable, VariableTable
from kernel.audit import AuditTable
from kernel.grants import append, read


@api.post("/saveForm", uses=[read(VariableTable), append(FormTable), append(AuditTable)])
def save_form(request: forms.NewForm) -> forms.SavedForm:
    """Make a form of variables of the channel and return it with its id; every call makes a new one."""
    return forms.save(request)
