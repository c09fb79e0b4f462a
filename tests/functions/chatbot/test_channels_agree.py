"""What a user of Messenger or WeChat sees is what `translated` makes of what a user of LINE would see."""

import json
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel import settings
from kernel.channels.messenger.messages import translated as for_messenger
from kernel.channels.wechat.messages import choices
from kernel.channels.wechat.messages import translated as for_wechat
from local.messenger_simulator import messenger_simulator
from local.wechat_simulator import wechat_simulator
from tests import chats
from tests.functions.chatbot import test_messenger as messenger
from tests.functions.chatbot import test_wechat as wechat
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import webhook_url
from tests.scenarios import URL, box, button, flex_node, imagemap_node, node, picture_node, sticker_node, user_reply

LINK = "https://shop.example.com/?x={{x}}"
LABELS = ("Yes", "No, thank you, no", "好", "👍🏽")
SAID = ("tap one", "tap two")
users = count(1)

texts = st.sampled_from(["Hello", "您好 {{x}}!", "a\n\nb", "🍎" * 30, "$ & <b> ]]>"])
labels = st.sampled_from(LABELS)
actions = st.one_of(
    st.builds(lambda label, text: {"type": "message", "label": label, "text": text}, labels, st.sampled_from(SAID)),
    st.builds(lambda label: {"type": "uri", "label": label, "uri": LINK}, labels),
    st.builds(lambda label: {"type": "postback", "label": label, "data": "tap one"}, labels),
)
quick = st.lists(actions, max_size=3).map(lambda some: {"items": [{"type": "action", "action": one} for one in some]})
# An area per label of the layout.
areas = st.sampled_from(SAID).map(lambda said: {"type": "message", "label": "A", "url": "", "text": said})
kinds = st.one_of(
    st.builds(
        lambda text, reply: (
            lambda name, **more: node(
                name,
                "text",
                {"type": "text", "text": text, **({"quickReply": reply} if reply["items"] else {})},
                **more,
            )
        ),
        texts,
        quick,
    ),
    st.builds(
        lambda text, taps, hero: (
            lambda name, **more: (
                flex_node(name, text, footer=box(*map(button, taps)), kind="flex", **more)
                if not hero
                else node(
                    name, "flex", {"type": "bubble", "hero": hero, "body": box({"type": "text", "text": text})}, **more
                )
            )
        ),
        texts,
        st.lists(actions, min_size=1, max_size=4),
        st.sampled_from([None, {"type": "image", "url": URL}]),
    ),
    st.builds(lambda area: lambda name, **more: imagemap_node(name, area, **more), areas),
    st.sampled_from([picture_node, sticker_node]),
)
flows = st.lists(kinds, min_size=1, max_size=2)


class Everywhere:
    """The same bot on three channels, and one person who uses all of them."""

    def __init__(self, cloud, chat, page, account):
        self.cloud, self.line, self.page, self.account = cloud, chat, page, account

    def save(self, name, *nodes, keywords):
        for channel in (self.line, self.page, self.account):
            channel.save(name, *nodes, keywords=keywords)

    def says(self, number, text):
        """Lets the person say something everywhere; returns what he is shown by LINE, Messenger and WeChat."""
        ann, before = f"U{number:032x}", len(self.line.line.sent)
        assert self.line.send(self.line.text(ann, text)) == 0
        told = [dict(one.message) for one in self.line.line.sent[before:]]
        by_page = self.page.say(text, str(number))
        return told, by_page, self.account.say(text, f"openid-{number}")


@pytest.fixture
def everywhere(cloud, monkeypatch):
    page = {"accountType": "fb", "accountWebhookUrl": webhook_url(messenger.PAGE, "/api/facebook")}
    account = {"accountType": "wechat", "appId": "wx1", "accountWebhookUrl": webhook_url(wechat.WECHAT, "/api/wechat")}
    with chats.talking(cloud, monkeypatch) as chat, messenger_simulator() as facebook, wechat_simulator() as tencent:
        monkeypatch.setenv("MESSENGER_API_ENDPOINT", facebook.url)
        monkeypatch.setenv("WECHAT_API_ENDPOINT", tencent.url)
        settings.settings.cache_clear()
        made(cloud, messenger.PAGE, **page)
        fields = made(cloud, wechat.WECHAT, **account).fields
        yield Everywhere(cloud, chat, messenger.Page(cloud, facebook), wechat.Account(cloud, tencent, fields))


def plain(messages):
    """LINE is told who speaks and keeps what it got as it was sent."""
    return json.loads(json.dumps(messages))


@given(first=flows, second=flows, pick=st.integers(0, 3))
@hypothesis_settings(
    max_examples=8,
    deadline=None,
    # An example is a dozen calls; making it smaller would take minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_everybody_sees_the_same(everywhere, first, second, pick):
    number = next(users)
    flow = [make(f"n{place}", sort=place) for place, make in enumerate(first, 1)]
    for one, following in pairwise(flow):
        one["nextNode"] = following["nodeId"]
    ask = node("ask", "text", {"type": "text", "text": "x?"}, userAction=user_reply("x"), next="n1", sort=0)
    everywhere.save("first", ask, *flow, keywords=["go"])
    everywhere.save("second", *(make(f"m{place}", sort=place) for place, make in enumerate(second, 1)), keywords=SAID)

    def agree(said):
        told, by_page, by_account = everywhere.says(number, said)
        assert by_page == [piece for message in plain(told) for piece in for_messenger(message)]
        assert by_account == [piece for message in plain(told) for piece in for_wechat(message)]
        return told

    assert agree("go") != []
    told = agree("五 & 5")
    assert told != []
    # By now the last message with choices decides what a number means; on the other channels people tap.
    offered = next((found for message in reversed(told) if (found := choices(message))), [])
    if offered:
        place = pick % len(offered)
        told, by_page, _ = everywhere.says(number, offered[place].value)
        assert by_page == [piece for message in plain(told) for piece in for_messenger(message)]
        agree("go")
        agree("五 & 5")
        assert everywhere.account.say(str(place + 1), f"openid-{number}") == [
            piece for message in plain(told) for piece in for_wechat(message)
        ]
