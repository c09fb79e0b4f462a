from chatbot import forms
from chatbot.api import api
from chatbot.tables import FormEntryTable
from kernel.grants import decrypt, read, sign


@api.post("/getUserForm", uses=[read(FormEntryTable), decrypt(), sign()], timeout=29)
def get_user_form(request: forms.EntriesRequest) -> forms.EntryList:
    """List what users filled into the forms of a channel, or into one of them, the latest first."""
    return forms.entries(request)
