from chatbot.api import api
from chatbot.operators import Credentials, TokensView
from kernel import sign_in
from kernel.auth import Caller, Public
from kernel.grants import sign_in as signing_in
from kernel.grants import write
from kernel.rates import RateTable


@api.post("/login", auth=Public(), uses=[signing_in(), write(RateTable)])
def login(request: Credentials, caller: Caller) -> TokensView:
    """Check an operator's password and return the tokens for all other calls."""
    tokens = sign_in.sign_in(request.admin_id, request.password, caller.id)
    return TokensView(**tokens._asdict())
