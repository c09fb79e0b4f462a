"""Pay passwords: what is kept of them, and that the documented default is the documented digest."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from membership import pay_passwords

DIGESTS = st.binary(min_size=16, max_size=16).map(bytes.hex)


@settings(max_examples=10, deadline=None)
@given(DIGESTS, DIGESTS)
def test_only_the_password_itself_fits(digest, other):
    kept = pay_passwords.hashed(digest)

    assert pay_passwords.fits(kept, digest)
    assert pay_passwords.fits(kept, digest.upper())
    assert pay_passwords.fits(kept, other) is (digest == other)


def test_a_request_is_hashed_once_for_each_password_that_is_kept(monkeypatch):
    asked = []
    monkeypatch.setattr(pay_passwords, "fits", lambda kept, digest: asked.append(kept) or kept == "right")
    presented = pay_passwords.Presented("a" * 32)

    assert [presented.fits(kept) for kept in ("right", "wrong", "right", "wrong")] == [True, False] * 2
    assert asked == ["right", "wrong"]


def test_what_is_kept_tells_neither_the_password_nor_who_has_the_same():
    digest = pay_passwords.default_digest("13800000007")
    kept = [pay_passwords.hashed(digest) for _ in range(2)]

    assert kept[0] != kept[1]
    assert kept[0].split("$")[:4] == ["scrypt", "16384", "8", "1"]
    assert all(digest not in one for one in kept)


def test_a_hash_with_other_costs_still_fits():
    made = hashlib.scrypt(b"a" * 32, salt=b"salt" * 4, n=2**10, r=4, p=2, dklen=32)
    encoded = [pay_passwords.base64.b64encode(part).decode() for part in (b"salt" * 4, made)]

    assert pay_passwords.fits("$".join(("scrypt", "1024", "4", "2", *encoded)), "A" * 32)


def test_the_default_is_the_last_six_digits():
    # M3.3-2.
    assert pay_passwords.default_digest("13800000007").upper() == "27701BD8DD141B953B94A5C9A44697C0"
