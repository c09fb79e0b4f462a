from kernel.grants import append, certify, check_certificate, fetch, read, send, store, write
from kernel.jobs import worker
from membership import proofs
from membership.proofs import PROOFS, ProofStep
from membership.seals import LEAVES
from membership.tables import ProofTable, ProofTurnTable, SealTable


@worker(
    PROOFS,
    uses=[
        *map(read, proofs.READ),
        *(write(ProofTable), write(ProofTurnTable), append(SealTable)),
        *(fetch(LEAVES), store(LEAVES)),
        *(certify(), check_certificate()),
        send(PROOFS),
    ],
    memory=1024,
    timeout=870,
)
def prove_merchant(message: ProofStep) -> None:
    """Prove a further part of a merchant's books: its cards and coupons, then its days, which it seals."""
    proofs.proceed(message)
