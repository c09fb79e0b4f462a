from kernel.grants import read, send
from kernel.jobs import job
from kernel.listings import PACKING
from kernel.running import current
from membership import list_upkeep
from membership.tables import MerchantTable, StoreTable


@job("cron(0 19 * * ? *)", uses=[read(MerchantTable), read(StoreTable), send(PACKING)], timeout=870)
def request_packing() -> None:
    """Ask for the packing of all lists, at 3 o'clock in Shanghai."""
    current().facts["books"] = list_upkeep.request_packing()
