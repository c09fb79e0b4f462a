from chatbot import forms
from chatbot.api import api
from chatbot.tables import FormTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post("/deleteForm", uses=[read(FormTable), write(FormTable), append(AuditTable)])
def delete_form(request: forms.FormIds) -> None:
    """Delete forms, all of them or none; what users filled in stays."""
    forms.delete(request)
