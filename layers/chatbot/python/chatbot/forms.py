"""Forms of a channel, made of its variables, and what users filled into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from chatbot import times, variables
from chatbot.api import NULL_IS_BLANK, AccountRequest, Body, ListRequest, ListView, View
from chatbot.tables import FormEntryTable, FormTable
from kernel import audit, ids, secrets
from kernel.errors import Flaw, Invalid
from kernel.operations import answer_size
from kernel.tables import Delete, Put, Write, commit, create, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from kernel.tables import Item

FIELDS_LIMIT = 100
# A deletion and its audit entry are two of the hundred writes that a transaction takes.
DELETED_AT_ONCE = 50
_PAGE = 1000
_ENTRIES_A_PAGE = 100
_ENTRIES_A_READ = 500
# A search for one form reads at most this many rows a call and then hands out a key.
_ENTRIES_A_SEARCH = 2000
_PAGE_BYTES = 4_000_000
# Each is a call of KMS.
_SEALED_A_PAGE = 200

FormId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class FormField(Body):
    """A variable of a form; the contract spells this one with an underscore."""

    var_name: variables.VariableName = Field(alias="var_name")


class NewForm(AccountRequest):
    """A form to make; the order of the fields is kept."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    fields_: Annotated[list[FormField], Field(alias="fields", min_length=1, max_length=FIELDS_LIMIT)]


class FormIds(AccountRequest):
    """Forms to delete: one id, or several in a list."""

    form_id: Annotated[
        list[FormId],
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        Field(min_length=1, max_length=DELETED_AT_ONCE),
    ]


class EntriesRequest(ListRequest):
    """Which filled-in forms to list: all of the channel, or those of one form."""

    form_id: Annotated[str, StringConstraints(max_length=64), NULL_IS_BLANK] = ""


class FieldView(View):
    """A variable of a form."""

    var_name: str = Field(alias="var_name")


class FormView(View):
    """A form as it is listed."""

    id: str
    name: str
    fields_: list[FieldView] = Field(alias="fields")


class SavedForm(View):
    """The form that was saved, with its new id."""

    data: FormView


class FormList(ListView):
    """A page of forms."""

    data: list[FormView]


class EntryView(View):
    """What a user filled into a form."""

    user_id: str
    form_id: str
    form_name: str
    form_data: dict[str, str] = Field(repr=False)
    create_time: str


class EntryList(ListView):
    """A page of filled-in forms."""

    data: list[EntryView]


def save(request: NewForm) -> SavedForm:
    """Make a form of variables of the channel; every call makes a new one."""
    names = [field.var_name for field in request.fields_]
    known = set(variables.names(request.partition))
    flaws = [
        Flaw(f"fields[{place}].var_name", "is not a variable of this channel")
        for place, name in enumerate(names)
        if name not in known
    ]
    if flaws:
        raise Invalid(flaws)
    row = FormTable(account=request.partition, form_id=ids.uuid1(), form_name=request.name, fields=names)
    commit(create(row), audit.entry(f"form {row.form_id}", before=None, after=_state(row)))
    return SavedForm(data=_view(row))


def page(request: ListRequest) -> FormList:
    """Return a page of at most 1000 forms of a channel, ordered by id."""
    rows, last_key = FormTable.query(request.partition, limit=_PAGE, after=request.start("forms"), consistent=True)
    return FormList(data=[_view(row) for row in rows], last_evaluated_key=request.next_key("forms", last_key))


def delete(request: FormIds) -> None:
    """Delete forms, all of which must be there; what users filled in stays."""
    wanted = request.form_id
    found = named(request.partition, wanted)
    flaws = [
        Flaw(f"formId[{place}]" if len(wanted) > 1 else "formId", "is not a form of this channel")
        for place, form_id in enumerate(wanted)
        if form_id not in found
    ]
    if flaws:
        raise Invalid(flaws)
    writes: list[Write] = []
    for form in found.values():
        writes.append(Delete(FormTable, form.own_key(), FormTable.form_id.exists()))
        writes.append(audit.entry(f"form {form.form_id}", before=_state(form), after=None))
    commit(*writes)


def named(partition: str, form_ids: Iterable[str]) -> dict[str, FormTable]:
    """Return the forms with these ids that are there, by id."""
    # A node names forms in whatever way its editor likes, and DynamoDB refuses odd keys.
    keys = [FormTable.key(partition, form_id) for form_id in dict.fromkeys(form_ids) if 0 < len(form_id) <= 64]
    forms = map(FormTable.of_item, rows_of(FormTable, keys))
    return {form.form_id: form for form in forms}


def entry(partition: str, user_id: str, form: FormTable, values: Mapping[str, Any], at: datetime) -> Put:
    """Return the write that records a filled-in form; `values` holds the user's variables, text or {"sealed": …}.

    `at` is the time of what completed the form, so that a repetition overwrites the entry with itself.
    """
    row = FormEntryTable(
        account=partition,
        place=f"{times.shown(at)}#{user_id}#{form.form_id}",
        user_id=user_id,
        form_id=form.form_id,
        form_name=form.form_name,
        answers={name: values.get(name, "") for name in form.fields},
        created_at=at,
    )
    return Put(row)


def entries(request: EntriesRequest) -> EntryList:
    """Return a page of at most 100 filled-in forms, 4 MB, or 200 sealed answers, in clear; the latest forms first.

    One form may be larger than that, and is a page then.
    """
    views: list[EntryView] = []
    size = read = sealed = 0
    after = request.start("form-entries")
    # One more than a page tells whether there is a further one; a search looks at more rows than it returns.
    limit = _ENTRIES_A_READ if request.form_id else _ENTRIES_A_PAGE + 1
    while True:
        items, ahead = FormEntryTable.query_items(request.partition, limit=limit, after=after, newest_first=True)
        read += len(items)
        for item in items:
            if request.form_id in ("", item["form_id"]["S"]):
                if len(views) == _ENTRIES_A_PAGE:
                    return _entry_list(request, views, after)
                row = FormEntryTable.of_item(item)
                sealed += sum(isinstance(answer, dict) for answer in row.answers.values())
                if views and sealed > _SEALED_A_PAGE:
                    return _entry_list(request, views, after)
                view = _entry_view(request, row)
                size += answer_size(view.model_dump_json(by_alias=True))
                if views and size > _PAGE_BYTES:
                    return _entry_list(request, views, after)
                views.append(view)
            after = FormEntryTable.key(item["account"]["S"], item["place"]["S"])
        if ahead is None or read >= _ENTRIES_A_SEARCH:
            return _entry_list(request, views, ahead)
        after = ahead


def _entry_list(request: EntriesRequest, views: list[EntryView], last_key: Item | None) -> EntryList:
    return EntryList(data=views, last_evaluated_key=request.next_key("form-entries", last_key))


def _entry_view(request: EntriesRequest, row: FormEntryTable) -> EntryView:
    context = {"adminId": request.admin_id, "accountId": request.account_id, "userId": row.user_id}
    answers = {
        name: secrets.decrypt(value["sealed"], {**context, "variable": name}).reveal()
        if isinstance(value, dict)
        else str(value)
        for name, value in row.answers.items()
    }
    return EntryView(
        user_id=row.user_id,
        form_id=row.form_id,
        form_name=row.form_name,
        form_data=answers,
        create_time=times.shown(row.created_at),
    )


def _view(row: FormTable) -> FormView:
    fields = [FieldView(var_name=name) for name in row.fields]
    return FormView(id=row.form_id, name=row.form_name, fields_=fields)


def _state(row: FormTable) -> dict[str, Any]:
    return {"name": row.form_name, "fields": row.fields}
