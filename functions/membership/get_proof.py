from kernel.grants import read
from membership import proofs
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.proofs import ProofId, ProofView
from membership.tables import ProofTable


@api.get("/admin/merchants/{merchant}/proofs/{proof}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(ProofTable)])
def get_proof(merchant: Number, proof: ProofId) -> ProofView:
    """Return how far a proof of the merchant's books is, what it counted and the first hundred things it found.

    The nightly proof has the id `nightly-` with its day in Shanghai, such as `nightly-20240128`.
    """
    return proofs.get(merchant, proof)
