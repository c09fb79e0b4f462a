"""What the chatbot's contract has refused: each documented cause is produced, and nothing is written by any of them."""

import pytest

from tests.contract.chatbot import (
    ABSENT,
    CONTRACT,
    DOCUMENT,
    DOCUMENTED,
    example_of,
    operation_of,
    request_of,
    required_places,
    spelled,
    without,
)
from tests.contract.conftest import ids_of, signed
from tests.functions.chatbot.examples import (
    BROADCAST_ID,
    IDS,
    JSON,
    OTHER_IDS,
    UNAUTHORIZED,
    account_fields,
    node,
    refused,
    webhook_url,
)

if not CONTRACT.is_file():
    pytest.skip(ABSENT, allow_module_level=True)

# Required by the document's marks, and yet taken when they are absent.
OPTIONAL = {
    "createAccount": {"accountClone": "absent is '' (quirks)"},
    "saveScenario": {
        "scenario.scenarioId": "absent has one made (quirks)",
        **dict.fromkeys(
            ("nodes[0].userAction", "nodes[0].nodeConst", "nodes[0].externalApi", "nodes[0].datetimeTrigger"),
            "absent is unset (quirks)",
        ),
        "nodes[0].error": "has a default",
    },
    "saveUserSegment": {"segmentConditions": "absent is [] (quirks)"},
    "scheduleBroadcast": dict.fromkeys(
        ("broadcastUsers[0].accountType", "broadcastUsers[0].userName"), "the id says who it is"
    ),
    "api/LineMessage/send": {"destination": "not worth losing LINE's events for"},
}
# Fields that are named as getAccount shows them, whichever of the two spellings came (quirks).
SHOWN = {"setting.cros.clientId": "setting.cros.clientid"}
BAD_REQUEST = (400, "Bad Request", JSON)
PARTNERS = ("api/penglue/send", "api/chichatcat/send", "api/userclick/send")
BARE = ("updateAccountExternalApiConfig", "userSegmentRegisterViaLiff")


def answer_for(name, message, code=400):
    """Return the whole refusal as the operation writes it."""
    status, body, kind = refused(message, code)
    if name in BARE:
        del body["Result"]
    return (status, body, kind)


def fields_left_out(name):
    """Yield the places of the documented request that are required, and the request without each."""
    request = request_of(name)
    left = OPTIONAL.get(name, {})
    for place in required_places(DOCUMENTED[name]["request"].get("fields") or [], request):
        if not spelled(place).startswith(tuple(left)) or not left:
            yield spelled(place), without(request, place)


JSON_OPERATIONS = [name for name, one in DOCUMENTED.items() if one["status"] == "active" and name != "api/wechat"]


def test_refuses_requests_that_lack_a_documented_field(cloud, ask, subtests):
    before = cloud.everything()

    for name in JSON_OPERATIONS:
        with subtests.test(name):
            for place, body in fields_left_out(name):
                message = f"{SHOWN.get(place, place)} is required"
                # Partners are told in one word (contract, envelope).
                wanted = BAD_REQUEST if name in PARTNERS else answer_for(name, message)
                assert ask(name, body) == wanted, place

    assert cloud.everything() == before


# The causes that are the same everywhere.
NO_OBJECT = "body is not a JSON object, or a required field is missing or of the wrong type"
NO_CHANNEL = "accountId does not exist or does not belong to adminId"
NO_TOKEN = "Bearer id_token missing, malformed or expired, or adminId is not the token's account"
NO_TOKEN_AT_ALL = "Bearer id_token missing or invalid"
NO_SIGNATURE = "signature header or parameter missing or wrong"
NO_SUCH_CHANNEL = "adminid/accountid unknown or of another accountType"


def causes():
    """Yield every documented cause: operation, code or status, words."""
    for name, documented in DOCUMENTED.items():
        for error in documented.get("errors") or ():
            code = error.get("ErrorCode") or error.get("http_status") or error.get("body")
            yield from ((name, code, cause) for cause in error["when"])


def having(cause):
    return [name for name, _, words in causes() if words == cause]


def test_bodies_that_are_no_objects_and_fields_of_another_type(cloud, ask, subtests):
    before = cloud.everything()

    for name in having(NO_OBJECT):
        with subtests.test(name):
            for body, message in (("[]", "The body must be a JSON object"), ("{", "The body is not valid JSON")):
                assert ask(name, body) == answer_for(name, message)
            answer = ask(name, {**request_of(name), "adminId": 1})
            assert answer == answer_for(name, "adminId must be a valid string")

    assert cloud.everything() == before


def test_channels_that_are_not_there_or_another_operators(cloud, ask, subtests):
    before = cloud.everything()

    for name in having(NO_CHANNEL):
        with subtests.test(name):
            for account_id in ("unknown", OTHER_IDS["accountId"]):
                answer = ask(name, {**request_of(name), "accountId": account_id})
                assert answer == answer_for(name, "accountId not found"), account_id

    assert cloud.everything() == before


def test_callers_without_a_token_or_of_another_operator(cloud, ask, subtests):
    before = cloud.everything()

    for name in (*having(NO_TOKEN), *having(NO_TOKEN_AT_ALL)):
        with subtests.test(name):
            wanted = answer_for(name, "Unauthorized", 401)
            assert ask(name, caller="", headers={}) == wanted
            if DOCUMENTED[name]["status"] == "active":
                assert ask(name, {**request_of(name), **OTHER_IDS}) == wanted

    assert cloud.everything() == before


def test_webhooks_that_are_not_signed_or_of_no_such_channel(cloud, ask, subtests):
    before = cloud.everything()

    for name in having(NO_SIGNATURE):
        with subtests.test(name):
            how = signed(operation_of(name).name, request_of(name))
            other = ids_of("receive_wechat_events" if name != "api/wechat" else "receive_messenger_events")
            wrong = {key: {**values, key_of(values): "x" * 40} for key, values in how.items() if key_of(values)}
            queries = [{}, {**how["query"], "accountid": "unknown"}, {**how["query"], "accountid": other["accountId"]}]
            for changed in (wrong, *({"query": query} for query in queries), {"headers": {}, "query": how["query"]}):
                if name != "api/wechat" or "headers" not in changed:
                    assert ask(name, **{**how, **changed}) == UNAUTHORIZED, changed
    assert having(NO_SUCH_CHANNEL) == having(NO_SIGNATURE)
    assert cloud.everything() == before


def key_of(values):
    """Return the header or parameter that holds a signature, '' when there is none."""
    return next((key for key in values if "signature" in key.lower()), "")


FB = {"accountId": ids_of("receive_messenger_events")["accountId"]}
UNKNOWN_ID = "00000000-bd9c-11ee-9576-5e3d17951793"
COLOURS, NODE_TYPES, EXPRESSIONS, SOURCES = (
    [*DOCUMENT["enums"][name]["values"]] for name in ("tag_color", "node_type", "expression", "condition_source")
)
# Sent in the wrong spelling as well (saveUserSegment, quirks).
SOURCES += ["cors"]
SIZES, REAL = "2500 x 1686 or 1200 x 810 or 800 x 540", "2500 x 1686"


def menu_areas(**areas):
    given = {**example_of("saveMenu")["area_opt"], **areas}
    return {"area_opt": {name: area for name, area in given.items() if area}}


def nodes(*given, **head):
    return {"nodes": list(given), "scenario": {**example_of("saveScenario")["scenario"], **head}}


def either(values):
    """Return how a refusal names the values that it would take."""
    *first, last = (f"'{value}'" for value in values)
    return f"{', '.join(first)} or {last}"


def condition(**changes):
    one = {"expression": "has_value", "source": "uservariable", "value": "", "uservariable": {"name": "var2"}}
    return {"mode": "Conditions", "segmentConditions": [{**one, **changes}], "segmentUsers": []}


IMAGEMAP = {
    "type": "imagemap",
    "layout": "A",
    "baseUrl": "https://res.example.com/images/ImageMap/0001/a/b",
    "altText": "Hi test",
    "baseSize": {"width": "1040", "height": "1040"},
    "areaOptions": [{"type": "uri", "label": "B", "url": "https://www.example.com/", "text": ""}],
}
AREA = {"type": "text", "data": "1"}
TEXT = {"type": "text", "text": "hello"}
# By operation and documented cause: what is sent instead of the documented fields, and what is answered.
CAUSES = {
    "createAccount": {
        "accountId already exists": [(account_fields(IDS), "accountId already exists")],
        "accountType is not one of the enumeration": [
            ({"accountType": "LINE"}, "accountType must be 'line', 'wechat' or 'fb'")
        ],
        "accountWebhookUrl does not carry the same adminId and accountId": [
            ({"accountWebhookUrl": webhook_url(IDS)}, "accountWebhookUrl must carry the same adminid and accountid")
        ],
        "accountClone names a channel that does not exist or is not owned by adminId": [
            ({"accountClone": "unknown"}, "accountClone not found"),
            ({"accountClone": OTHER_IDS["accountId"]}, "accountClone not found"),
        ],
    },
    "deleteBroadcast": {
        "broadcastIds is empty": [({"broadcastIds": []}, "broadcastIds must have at least 1 item")],
        "an id is unknown or already sent (decision)": [
            (
                {"broadcastIds": [BROADCAST_ID, UNKNOWN_ID]},
                "broadcastIds[1] is no planned or running broadcast of this channel",
            ),
            (
                {"broadcastIds": [BROADCAST_ID, "e47f4370-bda8-11ee-90d4-dea4f76151b9"]},
                "broadcastIds[1] is no planned or running broadcast of this channel",
            ),
        ],
    },
    "deleteForm": {"formId is unknown": [({"formId": UNKNOWN_ID}, "formId is not a form of this channel")]},
    "deleteIconUrl": {
        "accountIconUrl is empty or an id is unknown": [
            ({"accountIconUrl": []}, "accountIconUrl must have at least 1 item"),
            ({"accountIconUrl": [{"id": UNKNOWN_ID}]}, "accountIconUrl[0].id is not an icon of this channel"),
        ]
    },
    "deleteMenu": {"richmenuId is unknown": [({"richmenuId": "richmenu-" + "0" * 32}, "richmenuId not found")]},
    "deleteScenario": {"scenarioId is unknown": [({"scenarioId": UNKNOWN_ID}, "scenarioId not found")]},
    "deleteTag": {
        "no tag has this name and colour": [
            ({"tag": {"color": "bg-info", "name": "tag name"}}, "tag is not a tag of this channel")
        ]
    },
    "deleteUserSegment": {"segmentId is unknown": [({"segmentId": UNKNOWN_ID}, "segmentId not found")]},
    "deleteVariable": {
        "accountVariable is empty": [({"accountVariable": []}, "accountVariable must have at least 1 item")],
        "a name is unknown": [
            ({"accountVariable": ["var2", "unknown"]}, "accountVariable[1] is not a variable of this channel")
        ],
    },
    "getChatHistoryCsv": {
        "startTime or endTime cannot be parsed": [
            ({"startTime": "yesterday"}, "startTime must be a time like 2024-01-28 06:04:25.693"),
            ({"endTime": "2024-13-01"}, "endTime month must be in 1..12"),
        ],
        "startTime is after endTime": [({"startTime": "2024-01-26 00:00:00"}, "startTime is after endTime")],
    },
    "getCheckTest": {"int is missing": [({"int": ...}, "int is required")]},
    "getUsersList": {
        "lastEvaluatedKey is malformed": [
            (
                {"lastEvaluatedKey": {"adm_acc_id": "x"}},
                "lastEvaluatedKey.adm_acc_id must be an object; lastEvaluatedKey.usrid_acstm is required",
            ),
            ({"lastEvaluatedKey": "{"}, "lastEvaluatedKey is not a key of this list"),
        ],
        "lastEvaluatedKey.adm_acc_id does not match adminId and accountId": [
            (
                {"lastEvaluatedKey": example_of("getUsersList")["lastEvaluatedKey"]},
                "lastEvaluatedKey.adm_acc_id is of another channel",
            )
        ],
    },
    "imgMapfile": {
        "category is not ImageMap": [({"category": "Other"}, "category must be 'ImageMap'")],
        "img is not valid base64 or not a PNG/JPEG picture": [
            ({"img": "%"}, "img is not valid base64"),
            ({"img": "ZmFrZS1pbWFnZQ=="}, "img is not a PNG or JPEG picture"),
        ],
    },
    "pushLineMessages": {
        "luid is not a user of the channel": [({"luid": "U" + "0" * 32}, "luid is not a user of this channel")],
        "messages is empty or has more than 5 entries (LINE limit)": [
            ({"messages": []}, "messages must have at least 1 item"),
            ({"messages": [TEXT] * 6}, "messages must have at most 5 items"),
        ],
        "accountType is not line": [(FB, "accountId is not a LINE channel")],
    },
    "richMessageApi": {"always": [({}, "operation retired")]},
    "saveScenarioApi": {"always": [({}, "operation retired")]},
    "scheduleUsersImport": {"always": [({}, "operation retired")]},
    "saveForm": {
        "fields is empty": [({"fields": []}, "fields must have at least 1 item")],
        "a var_name is not a variable of the channel": [
            ({"fields": [{"var_name": "unknown"}]}, "fields[0].var_name is not a variable of this channel")
        ],
        "name is empty": [
            ({"name": ""}, "name must have at least 1 character"),
            ({"name": " "}, "name must have at least 1 character"),
        ],
    },
    "saveIconUrl": {
        "accountIconUrl is empty": [({"accountIconUrl": []}, "accountIconUrl must have at least 1 item")],
        "url is not an absolute http(s) URI": [
            (
                {"accountIconUrl": [{"name": "n", "url": url}]},
                "accountIconUrl[0].url has characters or a form that is not allowed here",
            )
            for url in ("2", "/a.png", "ftp://img.example.com/a")
        ],
    },
    "saveMenu": {
        "accountType is not line": [(FB, "accountId is not a LINE channel")],
        "layout is not A, B or C": [({"layout": "D"}, "layout must be 'A', 'B' or 'C'")],
        "area_opt lacks a letter the layout requires or has one too many": [
            (menu_areas(D=None), "area_opt.D is required by layout B"),
            (menu_areas(E=AREA), "area_opt.E is no area of layout B"),
        ],
        "image_width x image_height is not one of the three sizes": [
            (
                {"image_width": 2501},
                f"image_width and image_height must be {SIZES}; "
                f"image_b64 must be 2501 x 1686 pixels as named, and is {REAL}",
            )
        ],
        "image_type is not image/png or image/jpeg": [
            ({"image_type": "image/gif"}, "image_type must be 'image/png' or 'image/jpeg'")
        ],
        "image_b64 is not valid base64": [({"image_b64": "%"}, "image_b64 is not valid base64")],
        "use_datetime_trigger is true and end_time is missing or not after start_time": [
            ({"end_time": None}, "end_time is required with use_datetime_trigger"),
            ({"start_time": "2024-03-06T14:10:00.000Z"}, "end_time must be after start_time"),
        ],
        "a tab_menu area lies outside the picture": [
            (
                {"tab_menu": [{"name": "t", "xAxis": "2000", "yAxis": "0", "width": "501", "height": "1"}]},
                "tab_menu[0].width must end inside the picture, which is 2500 in width",
            )
        ],
    },
    "saveScenario": {
        "trigger or a node type is not in its enumeration": [
            (nodes(trigger="other"), "scenario.trigger must be 'selected', 'keyword', 'follow', 'error' or ''"),
            (
                nodes(node("n", type="other")),
                f"nodes[0].type must be {either(NODE_TYPES)}",
            ),
        ],
        "trigger is keyword and keywords is missing or empty": [
            (nodes(keywords=[]), "scenario.keywords is required for trigger keyword")
        ],
        "a nodeId occurs twice in the scenario": [
            (nodes(node("n"), node("n", 2)), "nodes[1].nodeId is already the id of nodes[0]")
        ],
        "an imagemap layout has a label it does not allow": [
            (
                nodes(node("n", type="imagemap", template=IMAGEMAP)),
                "nodes[0].template.areaOptions[0].label must be one of A in layout A",
            )
        ],
        "template.type does not fit the node type": [
            (nodes(node("n", type="sticker")), "nodes[0].template.type must be 'sticker' for a node of type sticker")
        ],
    },
    "saveTag": {
        "color is not one of the 18 names": [
            ({"tag": {"color": "red", "name": "n", "values": []}}, f"tag.color must be {either(COLOURS)}")
        ],
        "name is empty": [
            ({"tag": {"color": "bg-info", "name": "", "values": []}}, "tag.name must have at least 1 character")
        ],
    },
    "saveUserSegment": {
        "mode, an expression or a source is not in its enumeration": [
            ({"mode": "custom"}, "mode must be 'Custom', 'CVKey' or 'Conditions'"),
            (
                condition(expression="equals"),
                f"segmentConditions[0].expression must be one of {', '.join(EXPRESSIONS)}",
            ),
            (
                condition(source="age"),
                f"segmentConditions[0].source must be one of {', '.join(SOURCES)}",
            ),
        ],
        "mode is Custom and segmentUsers is empty (unless defaultUsersSegment)": [
            ({"segmentUsers": []}, "segmentUsers is required for mode Custom")
        ],
        "mode is CVKey and cvKey.orderId is missing": [({"mode": "CVKey"}, "cvKey.orderId is required for mode CVKey")],
        "mode is Conditions and segmentConditions is empty (unless defaultUsersSegment)": [
            ({"mode": "Conditions"}, "segmentConditions is required for mode Conditions")
        ],
        "num_range or date_range without range": [
            (
                condition(expression="num_range"),
                "segmentConditions[0].range needs start or end for expression num_range",
            ),
            (
                condition(expression="date_range", source="followtime"),
                "segmentConditions[0].range needs start or end for expression date_range",
            ),
        ],
        "a segment with this name exists": [({"segmentName": "SG00009"}, "segmentName already exists")],
    },
    "saveVariable": {
        "accountVariable is empty": [({"accountVariable": []}, "accountVariable must have at least 1 item")],
        "a name is empty": [({"accountVariable": ["var2", ""]}, "accountVariable[1] must have at least 1 character")],
    },
    "scheduleBroadcast": {
        "broadcastScenarioId is unknown": [
            ({"broadcastScenarioId": UNKNOWN_ID}, "broadcastScenarioId is no scenario of this channel")
        ],
        "broadcastStatus is not pending": [({"broadcastStatus": "done"}, "broadcastStatus must be 'pending'")],
        "broadcastTime cannot be parsed": [
            ({"broadcastTime": "tomorrow"}, "broadcastTime must be a time like 2024-01-28 06:04:25.693")
        ],
        "no receivers: isSelectAll false, broadcastUsers and segmentNames both empty": [
            ({"broadcastUsers": []}, "broadcastUsers or segmentNames is required unless isSelectAll is true")
        ],
        "a segment name is unknown": [
            ({"segmentNames": ["unknown"]}, "segmentNames[0] 'unknown' is not a segment of this channel")
        ],
    },
    "updateAccount": {
        "accountType is not in the enumeration or differs from the stored one": [
            ({"accountType": "LINE"}, "accountType must be 'line', 'wechat' or 'fb'"),
            (
                {"accountType": "fb", "accountWebhookUrl": webhook_url(IDS, "/api/facebook")},
                "accountType cannot be changed",
            ),
        ],
        "accountWebhookUrl does not carry the same adminId and accountId": [
            (
                {"accountWebhookUrl": webhook_url(OTHER_IDS)},
                "accountWebhookUrl must carry the same adminid and accountid",
            )
        ],
    },
    "updateAccountExternalApiConfig": {"setting.cros is missing": [({"setting": {}}, "setting.cros is required")]},
    "userSegmentRegisterViaLiff": {
        "token or userId missing": [({"token": ...}, "token is required"), ({"userId": ...}, "userId is required")]
    },
}


@pytest.mark.parametrize("name", CAUSES)
def test_refuses_for_the_documented_causes(cloud, ask, subtests, name):
    before = cloud.everything()

    for cause, cases in CAUSES[name].items():
        with subtests.test(cause):
            for changes, message in cases:
                body = {field: value for field, value in {**request_of(name), **changes}.items() if value is not ...}
                assert ask(name, body) == answer_for(name, message)

    assert cloud.everything() == before


# Causes that take more than another request: the test below that brings them about.
TOLD = {
    ("pushLineMessages", "LINE refused the push"): "test_line_refuses_a_push",
    ("saveMenu", "LINE refused the menu"): "test_line_refuses_a_menu",
    ("login", "adminId unknown or password wrong (decision: same answer for both)"): "test_logins_that_are_wrong",
    ("userSegmentRegisterViaLiff", "the segment in the token no longer exists"): "test_segments_that_are_gone",
    ("userSegmentRegisterViaLiff", "the signature of the token is wrong"): "test_tokens_that_are_not_ours",
    **{(name, "the order has been recorded before"): "test_orders_that_are_known" for name in PARTNERS[:2]},
    **{(name, "the token is not genuine"): "test_tokens_that_are_not_ours" for name in PARTNERS},
    **{
        (name, "a field is missing or the token cannot be read"): "test_tokens_that_cannot_be_read"
        for name in PARTNERS[:2]
    },
    (PARTNERS[2], "the token is missing or cannot be read"): "test_tokens_that_cannot_be_read",
}
EVERYWHERE = {NO_OBJECT, NO_CHANNEL, NO_TOKEN, NO_TOKEN_AT_ALL, NO_SIGNATURE, NO_SUCH_CHANNEL}
# Whoever has a token is known; an operator without channels has an empty list of them.
NEVER = {("getAccount", "adminId is unknown")}


def test_every_documented_cause_is_produced():
    produced = {(name, cause) for name, by_cause in CAUSES.items() for cause in by_cause}

    wanted = {(name, cause) for name, _, cause in causes() if cause not in EVERYWHERE}
    assert wanted == produced | set(TOLD) | NEVER
    assert set(TOLD.values()) <= set(globals())


def test_line_refuses_a_push(cloud, ask, line):
    before = cloud.everything()
    line.fail("/v2/bot/message/push", 400)

    answer = ask("pushLineMessages")

    assert answer.status == answer.body["ErrorCode"] == 400
    assert answer.body["ErrorMessage"].startswith("LINE refused the push: ")
    assert answer.body["Result"] is None
    assert cloud.everything() == before


def test_line_refuses_a_menu(cloud, ask, line):
    before = cloud.everything()
    line.fail("/v2/bot/richmenu", 400)

    assert ask("saveMenu") == refused("LINE refused the menu: it cannot be made (status 400)")
    assert cloud.everything() == before


def test_logins_that_are_wrong(ask):
    example = request_of("login")

    for wrong in ({"adminId": "unknown"}, {"password": "wrong"}):
        assert ask("login", {**example, **wrong}) == UNAUTHORIZED


def test_segments_that_are_gone(ask):
    token = request_of("userSegmentRegisterViaLiff")
    assert ask("deleteUserSegment").status == 200

    answer = ask("userSegmentRegisterViaLiff", token)

    assert answer == answer_for("userSegmentRegisterViaLiff", "The segment of the token no longer exists")


def test_tokens_that_are_not_ours(cloud, ask, subtests):
    before = cloud.everything()

    for name in ("userSegmentRegisterViaLiff", *PARTNERS):
        with subtests.test(name):
            answer = ask(name, example_of(name))
            wanted = (401, "Unauthorized", JSON) if name in PARTNERS else answer_for(name, "Unauthorized", 401)
            assert answer == wanted

    assert cloud.everything() == before


def test_tokens_that_cannot_be_read(cloud, ask, subtests):
    before = cloud.everything()

    for name in PARTNERS:
        for token in ("", "%", "...", 5):
            with subtests.test(name, token=token):
                assert ask(name, {**request_of(name), "token": token}) == BAD_REQUEST

    assert cloud.everything() == before


def test_orders_that_are_known(cloud, ask):
    for name in PARTNERS[:2]:
        assert ask(name) == (200, {}, JSON)
        before = cloud.everything()
        assert ask(name) == (400, DOCUMENTED[name]["failure_example"], JSON)
        assert cloud.everything() == before
