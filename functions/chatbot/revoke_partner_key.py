from chatbot import partner_keys
from chatbot.api import api
from kernel.audit import AuditTable
from kernel.auth import PartnerKeyTable
from kernel.grants import append, read, write


@api.post(
    "/revokePartnerKey",
    uses=[
        read(partner_keys.PartnerKeyNameTable),
        write(partner_keys.PartnerKeyNameTable),
        write(PartnerKeyTable),
        append(AuditTable),
    ],
)
def revoke_partner_key(request: partner_keys.PartnerKeyId) -> None:
    """Make a partner key useless from now on; others that the operator made stay good."""
    partner_keys.revoke(request)
