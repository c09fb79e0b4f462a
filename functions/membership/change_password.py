from kernel.grants import set_passwords, write
from kernel.grants import sign_in as signing_in
from kernel.rates import RateTable
from membership import sign_ins
from membership.api import Done, api
from membership.managers import Manager
from membership.sign_ins import ChangePassword
from membership.tables import ManagerTable


@api.post(
    "/web/manage/user/password",
    uses=[signing_in(), set_passwords(), write(ManagerTable), write(RateTable)],
)
def change_password(request: ChangePassword, caller: Manager) -> Done:
    """Give the manager another password, both as MD5 digests; all his sessions end and he signs in anew."""
    return sign_ins.change_password(caller, request)
