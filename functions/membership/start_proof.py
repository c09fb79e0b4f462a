from kernel.grants import read, send, write
from membership import proofs
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.proofs import PROOFS, StartedView
from membership.tables import MerchantTable, ProofTable, ProofTurnTable


@api.post(
    "/admin/merchants/{merchant}/proofs",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[
        *map(read, (MerchantTable, ProofTable, ProofTurnTable)),
        *map(write, (ProofTable, ProofTurnTable)),
        send(PROOFS),
    ],
)
def start_proof(merchant: Number) -> StartedView:
    """Start a proof of the merchant's books; GET with its id tells how far it is and what it found.

    One proof of a merchant runs at a time; one that stands still for a quarter of an hour makes way.
    """
    return proofs.start(merchant)
