from chatbot import partner_keys
from chatbot.api import api
from kernel.audit import AuditTable
from kernel.auth import PartnerKeyTable
from kernel.grants import append, read


@api.post(
    "/createPartnerKey",
    uses=[
        read(partner_keys.PartnerKeyNameTable),
        append(partner_keys.PartnerKeyNameTable),
        append(PartnerKeyTable),
        append(AuditTable),
    ],
)
def create_partner_key(request: partner_keys.NewPartnerKey) -> partner_keys.NewKeyView:
    """Make a key with which a partner may call for this operator; it is shown only now."""
    return partner_keys.make(request)
