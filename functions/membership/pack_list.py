from kernel.jobs import worker
from kernel.list_packing import PACKS, PackBook, pack
from kernel.listings import PACKING
from kernel.running import current


@worker(PACKING, uses=PACKS, memory=1769, timeout=870)
def pack_list(message: PackBook) -> None:
    """Pack the rows of a list that are not packed yet, so that searches find them by its index."""
    current().facts["rows"] = pack(message.book)
