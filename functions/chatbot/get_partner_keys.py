from chatbot import partner_keys
from chatbot.api import AdminRequest, api
from kernel.grants import read


@api.post("/getPartnerKeys", uses=[read(partner_keys.PartnerKeyNameTable)])
def get_partner_keys(request: AdminRequest) -> partner_keys.KeyList:
    """List the partner keys that the operator made, without the keys themselves."""
    return partner_keys.listed(request)
