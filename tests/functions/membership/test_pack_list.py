from functions.membership.pack_list import pack_list
from functions.membership.request_packing import request_packing
from kernel import list_packing
from kernel.list_search import Wanted, packing_of, search
from kernel.listings import PACKING, Book, ListHeadTable
from tests.lists import Record, days_ago, expected, put, stored, told
from tests.shops import OTHER_MERCHANT, furnish

BOOK = Book("recharges#store#3")


def test_every_night_all_lists_of_all_merchants_are_asked_for(cloud, capsys):
    furnish()
    furnish(OTHER_MERCHANT)

    request_packing({}, None)

    kinds = ("recharges", "expenses", "refunds", "invoices")
    books = [
        *(f"{kind}#merchant#{merchant}" for kind in (*kinds, "customers") for merchant in (12, 13)),
        *(f"{kind}#store#{store}" for kind in kinds for store in (3, 4, 5, 1003, 1004, 1005)),
    ]
    asked = [record["attributes"] for record in cloud.queued(PACKING)]
    assert sorted(attributes["MessageGroupId"] for attributes in asked) == sorted(books)
    assert f'"books":{len(books)}' in capsys.readouterr().out
    # A job that is started twice asks once; the next night it asks again.
    night = {attributes["MessageDeduplicationId"] for attributes in asked}
    assert night == {f"{book}@202401280641" for book in books}


def test_a_list_is_packed_as_it_grows(cloud, monkeypatch):
    monkeypatch.setattr(list_packing, "WORTH", 3)
    rows = []
    for step in range(4):
        new = [Record(step * 10 + n, days_ago(5 - step, n * 60), f"1380000000{n}", amounts=(n,)) for n in range(3)]
        put(record._replace(book=BOOK.name) for record in new)
        rows += [record._replace(book=BOOK.name) for record in new]
        PACKING.send([packing_of(BOOK, str(step))])

        assert cloud.work(pack_list) == []

        assert ListHeadTable.find(BOOK.name).rows == len(rows)
        for wanted in (Wanted(), Wanted(phone="02")):
            assert told(search(BOOK, wanted, page=1, size=5)) == expected(rows, wanted, 1, 5)
    assert len(stored(cloud)) == 2


def test_what_needs_no_packing_is_left_alone(cloud):
    PACKING.send([packing_of(BOOK, "")])

    assert cloud.work(pack_list) == []

    assert cloud.rows("list-heads") == []
    assert stored(cloud) == []
