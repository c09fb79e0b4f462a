"""What of a scenario its channel cannot show: said when it is saved, so that nobody finds out from his users."""

from __future__ import annotations

from typing import Any

from chatbot.messages import message_of


def losses(account_type: str, nodes: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for everything that the channel shows otherwise than it was made, each with its node's path."""
    found = []
    for place, node in enumerate(nodes):
        message = message_of(node)
        if message is None:
            if node["type"] == "sticker":
                found.append(f"nodes[{place}] shows nothing: a sticker needs packageId and stickerId")
            continue
        found += [f"nodes[{place}] {loss}" for loss in _of_message(account_type, message)]
    return found


def _of_message(account_type: str, message: dict[str, Any]) -> list[str]:
    match account_type:
        case "fb":
            from kernel.channels.messenger.messages import losses as by_messenger

            return by_messenger(message)
        case "wechat":
            from kernel.channels.wechat.messages import losses as by_wechat

            return by_wechat(message)
    return ["shows nothing: LINE has no generic template"] if message["type"] == "fb_generic" else []
