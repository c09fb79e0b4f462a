from chatbot import cros_settings
from chatbot.api import BareEnvelope, api
from chatbot.tables import AccountTable
from kernel.audit import AuditTable
from kernel.grants import append, encrypt, write


@api.post(
    "/updateAccountExternalApiConfig",
    uses=[write(AccountTable), append(AuditTable), encrypt()],
    envelope=BareEnvelope(),
)
def update_account_external_api_config(request: cros_settings.SettingRequest) -> None:
    """Replace the connection of a channel to the external service CROS."""
    cros_settings.save(request)
