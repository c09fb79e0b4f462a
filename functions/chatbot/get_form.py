from chatbot import forms
from chatbot.api import ListRequest, api
from chatbot.tables import FormTable
from kernel.grants import read, sign


@api.post("/getForm", uses=[read(FormTable), sign()])
def get_form(request: ListRequest) -> forms.FormList:
    """List the forms of a channel, ordered by id."""
    return forms.page(request)
