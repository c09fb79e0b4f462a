from kernel.auth import Caller, Public
from kernel.grants import store, write
from kernel.rates import RateTable
from membership import pictures
from membership.api import DoneWithText, api
from membership.pictures import UploadImage


@api.post(
    "/web/manage/upload/image",
    auth=Public(),
    uses=[store(pictures.ITEMS), write(RateTable)],
    body_limit=pictures.REQUEST_LIMIT,
    memory=1024,
    timeout=20,
)
def upload_image(request: UploadImage, caller: Caller) -> DoneWithText:
    """Store a JPEG or PNG picture of at most 4.4 MB and return its path, for recharges and invoices.

    Only the picture is kept, turned upright, without the time and place that phones write into its file.
    The contract's 5 MiB do not pass: Lambda takes requests of at most 6 MB, in base64.
    """
    return pictures.save(request, caller.id)
