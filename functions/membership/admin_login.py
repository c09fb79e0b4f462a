from kernel.auth import Caller, Public
from kernel.grants import sign_in as signing_in
from kernel.grants import write
from kernel.rates import RateTable
from membership import credentials
from membership.api import BACK_OFFICE, api
from membership.credentials import Credentials, Tokens


@api.post("/admin/login", auth=Public(), envelope=BACK_OFFICE, uses=[signing_in(), write(RateTable)])
def admin_login(request: Credentials, caller: Caller) -> Tokens:
    """Check the password of one of the back office and return the tokens for all its other calls."""
    return credentials.tokens(request, caller.id)
