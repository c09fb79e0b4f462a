from kernel.auth import Caller, Public
from kernel.grants import read, write
from kernel.grants import sign_in as signing_in
from kernel.rates import RateTable
from membership import sign_ins
from membership.api import api
from membership.sign_ins import SignIn
from membership.tables import ManagerNameTable, ManagerTable, SessionTable


@api.post(
    "/web/manage/user/login",
    auth=Public(),
    uses=[
        signing_in(),
        *(read(table) for table in (ManagerNameTable, ManagerTable)),
        *(write(table) for table in (ManagerTable, SessionTable, RateTable)),
    ],
)
def login(request: SignIn, caller: Caller) -> str:
    """Exchange a manager's name and the MD5 digest of his password for a token, valid 7 days after its last use."""
    return sign_ins.start_session(request, caller.id)
