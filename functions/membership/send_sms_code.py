from kernel.grants import sign, sms, write
from kernel.rates import RateTable
from membership import sms_codes
from membership.api import Done, ManagerRequest, api
from membership.managers import Manager
from membership.tables import SmsCodeTable


@api.post("/web/manage/ask/code", uses=[sms(), sign(), write(SmsCodeTable), write(RateTable)])
def send_sms_code(request: ManagerRequest, caller: Manager) -> Done:
    """Send the code that refunds ask for to the manager's own phone, once a minute; the code before is void."""
    sms_codes.send(caller)
    return Done("成功")
