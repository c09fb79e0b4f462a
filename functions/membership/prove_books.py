from kernel.grants import read, send
from kernel.jobs import job
from kernel.running import current
from membership import proofs
from membership.proofs import PROOFS
from membership.tables import MerchantTable


# 03:00 in Shanghai, when the day before is over everywhere and quiet.
@job("cron(0 19 * * ? *)", uses=[read(MerchantTable), send(PROOFS)], timeout=300)
def prove_books() -> None:
    """Start the nightly proof of every merchant's books."""
    current().facts["merchants"] = proofs.start_all()
