from chatbot import cors_errors
from chatbot.api import ListRequest, api
from chatbot.tables import CorsErrorTable
from kernel.grants import read, sign


@api.post("/getCorsError", uses=[read(CorsErrorTable), sign()])
def get_cors_error(request: ListRequest) -> cors_errors.CorsErrorList:
    """List the errors of the last 30 days that the external service answered with, the latest first."""
    return cors_errors.page(request)
