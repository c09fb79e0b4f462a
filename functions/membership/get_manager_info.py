from membership import sign_ins
from membership.api import ManagerRequest, api
from membership.managers import Manager
from membership.sign_ins import ManagerView


@api.post("/web/manage/user/info")
def get_manager_info(request: ManagerRequest, caller: Manager) -> ManagerView:
    """Return the profile, the menus and the permissions of the manager who is signed in."""
    return sign_ins.profile(caller)
