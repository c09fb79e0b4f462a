"""A packed list that answers by bit operations which of its rows match, how many there are and what they add up to.

Bit-sliced indexes: O'Neil and Quass, "Improved Query Performance with Variant Indexes", SIGMOD 1997. For each place of
the phone number and each digit there is a bitmap over the rows, and one for each bit of an amount. A part of a phone
number is the OR over where it may begin of the AND over its digits, which is exact; a sum is the sum of 2^j times the
ones that are left of slice j. The bitmaps are whole numbers, on which Python works at memory speed.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What it is, rows, bytes of the words, digits of a phone number, amounts of a row, bits of each amount.
_HEAD = struct.Struct("<8sQQHH8B")
_KIND = b"citylist"
_MOST_AMOUNTS = 8
# When (milliseconds), which number, in which of the books.
_KEY = struct.Struct("<qqI")
_AMOUNT = struct.Struct("<q")
_PLACE = struct.Struct("<I")
_ONE, _ZERO = ord("1"), ord("0")
# The bytes of a column become the digits of a binary number: 1 where they hold this digit, or this bit.
_IS_DIGIT = [bytes(_ONE if byte == _ZERO + digit else _ZERO for byte in range(256)) for digit in range(10)]
_HAS_BIT = [bytes(_ONE if byte >> bit & 1 else _ZERO for byte in range(256)) for bit in range(8)]
# Ones are counted in runs of so many rows until the wanted one is near.
_RUN = 4096
KEYS_FROM = _HEAD.size
KEY_BYTES = _KEY.size


class Key(NamedTuple):
    """Where a row is: its time in milliseconds, its number, and which of the list's books it stands in."""

    at: int
    number: int
    book: int


class Row(NamedTuple):
    """What the list keeps of a row."""

    key: Key
    phone: str
    words: str
    amounts: tuple[int, ...]


def keys_of(data: bytes) -> list[Key]:
    """Return the keys in a stretch of a packed list's keys."""
    return [Key(*found) for found in _KEY.iter_unpack(data)]


def folded(words: str) -> bytes:
    """Return words as they are compared: without regard to capitals and to ends of lines."""
    # A lone half of a surrogate pair, which JSON can carry, is in no text that was stored.
    return words.casefold().replace("\n", " ").encode("utf-8", "surrogatepass")


def is_part_of_a_number(phone: str) -> bool:
    """Tell whether a text can be a part of a phone number at all."""
    return phone.isascii() and phone.isdigit()


def order_of(by_number: bool) -> Callable[[Key], tuple[int, int]]:
    """Return what a list is sorted by: the number, or the time."""
    return (lambda key: (key.number, 0)) if by_number else (lambda key: (key.at, key.number))


class Columns:
    """The columns of a list while it is put together: they grow, and `packed` makes the bitmaps."""

    def __init__(self, *, by_number: bool = False) -> None:
        self._order = order_of(by_number)
        self._width = self._amounts = 0
        self._keys, self._phones, self._values = bytearray(), bytearray(), bytearray()
        self._text = bytearray()
        self._starts = [0]

    @classmethod
    def of(cls, data: bytes, *, by_number: bool = False) -> Columns:
        """Return the columns of a packed list."""
        made = cls(by_number=by_number)
        packed = PackedList(data)
        made._width, made._amounts = packed.width, packed.amounts
        made._keys += packed.part("keys")
        made._phones += packed.part("phones")
        made._values += packed.part("values")
        made._text += packed.text
        made._starts = packed.starts.tolist()
        return made

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def last(self) -> Key | None:
        """The last row's key."""
        return Key(*_KEY.unpack_from(self._keys, len(self._keys) - _KEY.size)) if self._keys else None

    def add(self, rows: Sequence[Row]) -> None:
        """Put rows in at their places, leaving out those that are there already."""
        self._widen(rows)
        order, size = self._order, len(self)
        end = order(self.last) if self.last else None
        fresh: list[tuple[int, Row]] = []
        taken = None
        for row in sorted(rows, key=lambda row: order(row.key)):
            wanted, place = order(row.key), size
            if end is not None and wanted <= end:
                place = bisect_left(range(size), wanted, key=lambda place: order(self._key(place)))
                if order(self._key(place)) == wanted:
                    continue
            if wanted != taken:
                fresh.append((place, row))
            taken = wanted
        if not fresh:
            return
        self._keys = _spliced(self._keys, _KEY.size, [(place, _KEY.pack(*row.key)) for place, row in fresh])
        self._phones = _spliced(self._phones, self._width, [(place, self._phone(row)) for place, row in fresh])
        size = self._amounts * _AMOUNT.size
        self._values = _spliced(self._values, size, [(place, self._value(row)) for place, row in fresh])
        texts = [(place, folded(row.words) + b"\n") for place, row in fresh]
        # Words have no fixed width: they are cut where their row begins.
        self._text, self._starts = _spliced_text(self._text, self._starts, texts)

    def _key(self, place: int) -> Key:
        return Key(*_KEY.unpack_from(self._keys, place * _KEY.size))

    def _widen(self, rows: Sequence[Row]) -> None:
        width = max(self._width, max((len(row.phone) for row in rows), default=0))
        amounts = max(self._amounts, max((len(row.amounts) for row in rows), default=0))
        if amounts > _MOST_AMOUNTS:
            raise ValueError(f"a list adds up at most {_MOST_AMOUNTS} amounts")
        self._phones = _wider(self._phones, self._width, width, b" ", len(self))
        size = _AMOUNT.size
        self._values = _wider(self._values, self._amounts * size, amounts * size, b"\0", len(self))
        self._width, self._amounts = width, amounts

    def _phone(self, row: Row) -> bytes:
        return row.phone.encode("ascii", "replace").ljust(self._width)

    def _value(self, row: Row) -> bytes:
        if min(row.amounts, default=0) < 0:
            raise ValueError("a list adds up amounts, not differences")
        return b"".join(map(_AMOUNT.pack, row.amounts)).ljust(self._amounts * _AMOUNT.size, b"\0")

    def packed(self) -> bytes:
        """Return the packed list: what is searched first, what only a later packing needs last."""
        size = (len(self) + 7) // 8
        bitmaps: list[bytes] = []

        def add(column: bytes | bytearray, table: bytes) -> None:
            # The first row is the lowest bit, so the column is turned round.
            bitmaps.append(int(column[::-1].translate(table) or b"0", 2).to_bytes(size, "little"))

        for place in range(self._width):
            for is_digit in _IS_DIGIT:
                add(self._phones[place :: self._width], is_digit)
        bits = [0] * _MOST_AMOUNTS
        stride = self._amounts * _AMOUNT.size
        for number in range(self._amounts):
            columns = [self._values[number * _AMOUNT.size + byte :: stride] for byte in range(_AMOUNT.size)]
            highest = next((byte for byte in range(_AMOUNT.size - 1, -1, -1) if any(columns[byte])), -1)
            if highest >= 0:
                bits[number] = highest * 8 + max(columns[highest]).bit_length()
            for bit in range(bits[number]):
                add(columns[bit // 8], _HAS_BIT[bit % 8])
        head = _HEAD.pack(_KIND, len(self), len(self._text), self._width, self._amounts, *bits)
        starts = struct.pack(f"<{len(self._starts)}I", *self._starts)
        return b"".join((head, self._keys, *bitmaps, starts, self._text, self._phones, self._values))


class PackedList:
    """A packed list, whole or without what only a later packing needs."""

    def __init__(self, data: bytes) -> None:
        kind, rows, words, width, amounts, *bits = _HEAD.unpack_from(data)
        if kind != _KIND:
            raise ValueError("this is no packed list")
        self.rows: int = rows
        self.width: int = width
        self.amounts: int = amounts
        self.bits: list[int] = bits[:amounts]
        self._data = data
        self._bitmap = (self.rows + 7) // 8
        sizes = {
            "keys": self.rows * _KEY.size,
            "digits": self.width * 10 * self._bitmap,
            "sums": sum(bits) * self._bitmap,
            "starts": (self.rows + 1) * _PLACE.size,
            "text": words,
            "phones": self.rows * self.width,
            "values": self.rows * self.amounts * _AMOUNT.size,
        }
        self._spans: dict[str, tuple[int, int]] = {}
        begin = _HEAD.size
        for name, length in sizes.items():
            self._spans[name] = (begin, begin + length)
            begin += length
        self._slices: dict[int, int] = {}

    @property
    def searched(self) -> int:
        """How many bytes from the beginning a search needs."""
        return self._spans["text"][1]

    @property
    def size(self) -> int:
        """The bytes that it holds in memory."""
        return len(self._data)

    def part(self, name: str) -> bytes:
        """Return one of its parts."""
        begin, end = self._spans[name]
        return self._data[begin:end]

    @cached_property
    def text(self) -> bytes:
        """The words of all rows, each row's with an end of line."""
        return self.part("text")

    @cached_property
    def starts(self) -> memoryview[int]:
        """Where the words of each row begin in `text`, and where the last ones end."""
        # Little-endian, as every machine is that Lambda has.
        return memoryview(self.part("starts")).cast("I")

    @property
    def everything(self) -> int:
        """All rows."""
        return (1 << self.rows) - 1

    def key(self, place: int) -> Key:
        """Return the key of the row at a place."""
        return Key(*_KEY.unpack_from(self._data, _HEAD.size + place * _KEY.size))

    def before(self, key: Key, *, by_number: bool) -> int:
        """Return how many rows stand before where this key would."""
        order = order_of(by_number)
        return bisect_left(range(self.rows), order(key), key=lambda place: order(self.key(place)))

    def between(self, start: int | None, end: int | None) -> int:
        """Return the rows of a list in the order of time whose time is in a range, its ends included."""
        times = range(self.rows)
        low = 0 if start is None else bisect_left(times, start, key=lambda place: self.key(place).at)
        high = self.rows if end is None else bisect_right(times, end, key=lambda place: self.key(place).at)
        return (1 << high) - (1 << low) if low < high else 0

    def with_phone(self, part: str) -> int:
        """Return the rows whose phone number contains these digits."""
        if not is_part_of_a_number(part):
            return 0
        found = 0
        for begin in range(self.width - len(part) + 1):
            here = self._digit(begin, part[0])
            for place, digit in enumerate(part[1:], begin + 1):
                if not here:
                    break
                here &= self._digit(place, digit)
            found |= here
        return found

    def with_words(self, part: str) -> int:
        """Return the rows whose words contain these."""
        wanted, text, starts = folded(part), self.text, self.starts
        found = bytearray(self._bitmap)
        place = text.find(wanted)
        while place >= 0:
            row = bisect_right(starts, place) - 1
            found[row >> 3] |= 1 << (row & 7)
            place = text.find(wanted, starts[row + 1])
        return int.from_bytes(found, "little")

    def sums(self, rows: int) -> tuple[int, ...]:
        """Return what the amounts of these rows add up to."""
        found = []
        number = 0
        for bits in self.bits:
            found.append(sum((rows & self._slice("sums", number + bit)).bit_count() << bit for bit in range(bits)))
            number += bits
        return tuple(found)

    def _digit(self, place: int, digit: str) -> int:
        return self._slice("digits", place * 10 + int(digit))

    def _slice(self, part: str, number: int) -> int:
        begin = self._spans[part][0] + number * self._bitmap
        found = self._slices.get(begin)
        if found is None:
            found = self._slices[begin] = int.from_bytes(self._data[begin : begin + self._bitmap], "little")
        return found


def places(rows: int, low: int, high: int) -> list[int]:
    """Return the places of the rows that are `low`th to before `high`th among these, from 0."""
    digits = bin(rows)[:1:-1]
    begin = seen = 0
    while begin < len(digits) and (more := digits.count("1", begin, begin + _RUN)) + seen <= low:
        seen += more
        begin += _RUN
    found: list[int] = []
    place = digits.find("1", begin)
    while place >= 0 and seen < high:
        if seen >= low:
            found.append(place)
        seen += 1
        place = digits.find("1", place + 1)
    return found


def _spliced(column: bytearray, width: int, fresh: Sequence[tuple[int, bytes]]) -> bytearray:
    """Return a column of fixed width with values put in before the rows at their places."""
    if not width:
        return column
    if fresh[0][0] * width == len(column):
        column += b"".join(value for _, value in fresh)
        return column
    pieces: list[bytes | bytearray] = []
    begin = 0
    for place, value in fresh:
        pieces += (column[begin : place * width], value)
        begin = place * width
    return bytearray(b"").join((*pieces, column[begin:]))


def _spliced_text(
    text: bytearray, starts: list[int], fresh: Sequence[tuple[int, bytes]]
) -> tuple[bytearray, list[int]]:
    if fresh[0][0] == len(starts) - 1:
        for _, words in fresh:
            text += words
            starts.append(len(text))
        return text, starts
    pieces: list[bytes | bytearray] = []
    lengths: list[int] = []
    begin = 0
    for place, words in [*fresh, (len(starts) - 1, b"")]:
        pieces += (text[starts[begin] : starts[place]], words)
        lengths += (starts[row + 1] - starts[row] for row in range(begin, place))
        if words:
            lengths.append(len(words))
        begin = place
    merged = [0]
    for length in lengths:
        merged.append(merged[-1] + length)
    return bytearray(b"").join(pieces), merged


def _wider(column: bytearray, old: int, new: int, fill: bytes, rows: int) -> bytearray:
    """Return a column whose values are filled up to another width."""
    if new == old:
        return column
    if not old:
        return bytearray(fill * new * rows)
    return bytearray(b"".join(column[i : i + old].ljust(new, fill) for i in range(0, len(column), old)))
