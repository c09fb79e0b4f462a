"""WeChat's webhooks: signatures, the encrypted mode, the XML that comes in and the XML that may answer at once.

Sources: https://developers.weixin.qq.com/doc/oplatform/developers/dev/push (signature, encrypted mode) and the pages
on received messages and passive replies of official accounts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    from kernel.secrets import Secret

_KEY_LENGTH = 43
_BLOCK = 32
_RANDOM = 16
# Real messages are far smaller; a tree deeper than this is no message at all.
_BODY = 64 * 1024
_DEPTH = 8


class Malformed(Exception):
    """A body that is not what WeChat sends, or not meant for this account."""


class Article(NamedTuple):
    """The one article of a news reply; addresses are absolute, description and picture may be ""."""

    title: str
    description: str
    url: str
    picture: str


def signed_by(token: Secret, timestamp: str, nonce: str, given: str) -> bool:
    """Tell in constant time whether `signature` of a webhook's query was made with the server token.

    With an empty token anybody could sign, so nothing is.
    """
    return _signed(token, [timestamp, nonce], given)


def signed_cipher_by(token: Secret, timestamp: str, nonce: str, encrypted: str, given: str) -> bool:
    """Tell in constant time whether `msg_signature` was made with the server token for the text of `Encrypt`."""
    return _signed(token, [timestamp, nonce, encrypted], given)


def _signed(token: Secret, parts: list[str], given: str) -> bool:
    right = _signature(token, parts)
    return bool(token.reveal()) and hmac.compare_digest(right.encode(), given.encode(errors="replace"))


def _signature(token: Secret, parts: list[str]) -> str:
    joined = "".join(sorted([token.reveal(), *parts])).encode(errors="replace")
    # SHA-1 is WeChat's rule.
    return hashlib.sha1(joined).hexdigest()  # noqa: S324


def decrypted(encoding_key: Secret, app_id: str, encrypted: str) -> bytes:
    """Return the message inside `Encrypt`; Malformed when the key does not open it or it is for another app.

    The signature must have been checked: AES-CBC itself notices no change.
    """
    decryptor = _cipher(encoding_key).decryptor()
    try:
        data = base64.b64decode(encrypted, validate=True)
        plain = decryptor.update(data) + decryptor.finalize()
    except ValueError:
        raise Malformed("the encrypted message is not whole") from None
    padding = plain[-1] if plain else 0
    if not 1 <= padding <= _BLOCK or plain[-padding:] != bytes([padding]) * padding:
        raise Malformed("the encrypted message does not open with this key")
    content = plain[_RANDOM:-padding]
    length = int.from_bytes(content[:4], "big")
    if len(content) < 4 + length or not hmac.compare_digest(content[4 + length :], app_id.encode()):
        raise Malformed("the encrypted message is for another app")
    return content[4 : 4 + length]


def encrypted_reply(
    encoding_key: Secret, token: Secret, app_id: str, reply: str, timestamp: str, nonce: str, noise: bytes | None = None
) -> str:
    """Return a reply's XML as the encrypted mode wants it: `Encrypt`, `MsgSignature`, `TimeStamp` and `Nonce`.

    `noise` is 16 random bytes, given only where the result must be known beforehand.
    """
    message = reply.encode()
    noise = os.urandom(_RANDOM) if noise is None else noise
    plain = noise + len(message).to_bytes(4, "big") + message + app_id.encode()
    padding = _BLOCK - len(plain) % _BLOCK
    encryptor = _cipher(encoding_key).encryptor()
    data = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    encrypted = base64.b64encode(data).decode()
    signature = _signature(token, [timestamp, nonce, encrypted])
    return (
        f"<xml>{_cdata('Encrypt', encrypted)}{_cdata('MsgSignature', signature)}"
        f"<TimeStamp>{int(timestamp)}</TimeStamp>{_cdata('Nonce', nonce)}</xml>"
    )


def _cipher(encoding_key: Secret) -> Cipher[modes.CBC]:
    # Loaded late: most accounts run in plain mode, and OpenSSL takes long to load.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    text = encoding_key.reveal()
    try:
        key = base64.b64decode(text + "=", validate=True) if len(text) == _KEY_LENGTH else b""
    except ValueError:
        key = b""
    if not key:
        raise Malformed("an EncodingAESKey has 43 letters and digits")
    return Cipher(algorithms.AES(key), modes.CBC(key[:16]))


def parsed(body: bytes) -> dict[str, str]:
    """Return the texts of a message's or an event's XML by name: `{"MsgType": "text", "Content": …}`.

    Nested texts (`ScanCodeInfo`, `SendLocationInfo`) are named with a dot. Anything that declares a document type or
    entities, is deeper or longer than a message, or is no XML is Malformed.
    """
    # Loaded late: nothing but WeChat's webhook reads XML.
    from xml.parsers import expat

    if len(body) > _BODY:
        raise Malformed("the XML is longer than any message")
    found: dict[str, str] = {}
    path: list[str] = []
    texts: list[list[str]] = []
    leaf = False

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(path) == _DEPTH or (not path and name != "xml"):
            raise Malformed("the XML is no message")
        nonlocal leaf
        leaf = True
        path.append(name)
        texts.append([])

    def end(name: str) -> None:
        nonlocal leaf
        text = "".join(texts.pop())
        if leaf and len(path) > 1:
            found.setdefault(".".join(path[1:]), text)
        leaf = False
        path.pop()

    def refuse(*declared: object) -> None:
        raise Malformed("the XML declares a document type")

    # Whatever it declares, WeChat writes UTF-8.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda data: texts[-1].append(data)
    # Entities are what makes XML dangerous: without a document type there are none.
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError) as problem:
        raise Malformed("the body is not XML") from problem
    return found


def text_reply(to: str, sender: str, at: int, text: str) -> str:
    """Return the XML that answers a message with a text; `at` in seconds since the epoch."""
    return _reply(to, sender, at, "text", _cdata("Content", text))


def image_reply(to: str, sender: str, at: int, media_id: str) -> str:
    """Return the XML that answers a message with an uploaded picture."""
    return _reply(to, sender, at, "image", f"<Image>{_cdata('MediaId', media_id)}</Image>")


def news_reply(to: str, sender: str, at: int, article: Article) -> str:
    """Return the XML that answers a message with one article."""
    item = (
        f"{_cdata('Title', article.title)}{_cdata('Description', article.description)}"
        f"{_cdata('PicUrl', article.picture)}{_cdata('Url', article.url)}"
    )
    content = f"<ArticleCount>1</ArticleCount><Articles><item>{item}</item></Articles>"
    return _reply(to, sender, at, "news", content)


def _reply(to: str, sender: str, at: int, kind: str, content: str) -> str:
    return (
        f"<xml>{_cdata('ToUserName', to)}{_cdata('FromUserName', sender)}"
        f"<CreateTime>{at}</CreateTime>{_cdata('MsgType', kind)}{content}</xml>"
    )


def _cdata(name: str, text: str) -> str:
    # XML has no way to write control characters, and a CDATA section ends at its first "]]>".
    clean = "".join(character for character in text if character in "\t\n\r" or _printable(character))
    return f"<{name}><![CDATA[{clean.replace(']]>', ']]]]><![CDATA[>')}]]></{name}>"


def _printable(character: str) -> bool:
    return character >= " " and not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff"
