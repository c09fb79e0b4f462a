from kernel.grants import read
from membership import stores
from membership.api import Paged, PageRequest, api
from membership.managers import Manager
from membership.stores import ListedStore
from membership.tables import MerchantTable, StoreTable


@api.post("/web/manage/v3/store/list", uses=[read(MerchantTable), read(StoreTable)])
def list_stores(request: PageRequest, caller: Manager) -> Paged[list[ListedStore]]:
    """List the stores that the account may see: a merchant's account all of them, a store's account its own."""
    return stores.listed(caller, request)
