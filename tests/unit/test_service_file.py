"""The service file: what libpq must read, and what must not change for other services."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from psycopg import pq

from pgherald.clients import block, lines, sections, service_file
from pgherald.clients.base import Action, Change, Held, TextClient
from pgherald.clients.sections import ASKED, CLOSING
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import Inexpressible, Unparsable
from pgherald.model import DatabaseKey, Entry, Login, strictest
from pgherald.secret import MASK, Secret
from support import strategies

EDITOR: TextClient = ServiceFile()
SHOP = DatabaseKey("default", "shop", "DATABASE")
BLOG = DatabaseKey("default", "blog", "DATABASE")
LOGIN = Login("db.example.com", 5432, "d1", "u1", Secret("CANARY-pw-1"))
ENTRY = strategies.entry(SHOP, LOGIN, "shop")
SECOND = strategies.entry(BLOG, LOGIN, "blog")

BLOCK = b"""\
# >>> pgherald: this part is rewritten, put your own lines below it >>>
# pgherald: shop/DATABASE
[shop]
host=db.example.com
port=5432
dbname=d1
user=u1
password=CANARY-pw-1
sslmode=require
# <<< pgherald: end of the part that is rewritten, your own lines go below <<<
"""
END = BLOCK.splitlines(keepends=True)[-1]


def entry(**fields: object) -> Entry:
    """The shop's entry with some fields of its login changed."""
    return dataclasses.replace(ENTRY, login=dataclasses.replace(LOGIN, **fields))  # type: ignore[arg-type]  # the fields are the test's to choose


def typed(row: bytes, before: bytes = END) -> bytes:
    """The block with a line typed into it."""
    return BLOCK.replace(before, row + before)


def looked_up(text: bytes, service: str) -> Held | str | None:
    """What libpq makes of a service; `refused` when it refuses it."""
    try:
        return service_file.held(text, service)
    except Unparsable:
        return "refused"


def test_format_is_stable() -> None:
    """The bytes of a written block are a format that later versions must still read."""
    assert EDITOR.plan(None, [ENTRY]).new == BLOCK
    held = Held("db.example.com", 5432, "d1", "u1", LOGIN.password, "require", "shop")
    assert EDITOR.read(BLOCK) == {SHOP: held}
    assert (EDITOR.kind, EDITOR.label, EDITOR.private) == ("service_file", "service file", True)


@given(data=st.data())
def test_libpq_finds_what_was_wanted(data: st.DataObject) -> None:
    """In any file, after an edit, a look-up by libpq's rules gives each wanted login."""
    before = EDITOR.plan(
        data.draw(strategies.service_files()), data.draw(strategies.entry_lists())
    ).new
    file = data.draw(
        st.one_of(st.just(before), strategies.mangled(before, strategies.service_rows()))
    )
    entries = data.draw(strategies.entry_lists())
    try:
        new = EDITOR.plan(file, entries).new
    except Unparsable:
        return
    for each in entries:
        login, service = each.login, each.database.service
        found = service_file.held(new, service)
        assert found is not None
        mode = found.sslmode
        assert mode == login.sslmode or b"sslmode=%s" % str(mode).encode() in file
        assert mode == strictest(login.sslmode, mode), "a stricter one may stay"
        assert dataclasses.replace(found, options=()) == Held(
            login.host, login.port, login.dbname, login.user, login.password, mode, service
        )


@given(data=st.data())
def test_other_services_mean_what_they_meant(data: st.DataObject) -> None:
    """No edit changes what libpq reads for a service of the person's, wherever it stands."""
    file = data.draw(strategies.service_files())
    # Behind a byte order mark libpq does not see the first line; that is not kept.
    assume(not file.startswith(strategies.BOM))
    before = EDITOR.plan(file, data.draw(strategies.entry_lists())).new
    if data.draw(st.booleans()):
        before = data.draw(strategies.mangled(before, strategies.service_rows()))
    # A line too long spoils what follows it, so that moving the block may mend or break.
    assume(all(len(row) < 1000 for row in lines.split(before)))
    # Where our header was lost, libpq takes our lines for the section above, until we mend that.
    assume(not any(section.headless for section in _sections(before)))
    entries = data.draw(strategies.entry_lists())
    others = {SHOP, BLOG} | {slot.key for slot in _slots(before)} - {e.key for e in entries}
    try:
        after = EDITOR.plan(before, entries, remove=others).new
    except Unparsable:
        return
    block = before.partition(b"# >>> pgherald")[2].partition(b"# <<< pgherald")[0]
    for name in ("mine", "a", "a]b"):
        old = looked_up(before, name)
        # Below a header within our block stand our lines, which do not stay there.
        if old != "refused" and b"[%s]" % name.encode() not in block:
            assert looked_up(after, name) == old


def _sections(text: bytes) -> Iterable[sections.Section]:
    try:
        return sections.sort(block.split(text), {}).sections.values()
    except Unparsable:
        return ()


def _slots(text: bytes) -> tuple[block.Slot, ...]:
    try:
        return block.split(text).slots
    except Unparsable:
        return ()


@pytest.mark.parametrize("field", ["host", "port", "dbname", "user", "password", "sslmode"])
def test_a_changed_field_is_named(field: str) -> None:
    """An update names the fields that differ, and nothing else changes."""
    odd: dict[str, object] = {
        "password": Secret("CANARY-pw-2"),
        "port": 5433,
        "sslmode": "verify-full",
    }
    edit = EDITOR.plan(BLOCK, [entry(**{field: odd.get(field, "x")})])
    assert edit.changes == (Change(SHOP, Action.UPDATE, (field,)),)
    differing = set(BLOCK.split(b"\n")) ^ set(edit.new.split(b"\n"))
    assert {row.split(b"=")[0].decode() for row in differing} == {field}


def test_a_renamed_service_keeps_its_entry() -> None:
    """A new service name replaces the section's, since the key is what names the entry."""
    edit = EDITOR.plan(BLOCK, [strategies.entry(SHOP, LOGIN, "shop-eu")])
    assert edit.new == BLOCK.replace(b"[shop]", b"[shop-eu]")
    assert edit.changes == (Change(SHOP, Action.UPDATE, ("service",)),)


def test_own_keys_in_our_section_stay() -> None:
    """`application_name` and the like, comments and blank lines stay where the person put them."""
    own = b"  application_name=psql\n\n# for certificates\nsslrootcert=/etc/ca.pem\n"
    current = typed(own)
    assert EDITOR.plan(current, [ENTRY]).new is current
    edit = EDITOR.plan(current, [entry(user="u2")])
    assert edit.new == current.replace(b"u1", b"u2")
    assert edit.warnings == ()


@pytest.mark.parametrize(
    ("damage", "fields"),
    [
        (typed(b"user=someone\n"), (block.ORDER,)),
        (typed(b"user=someone\n", b"user="), ("user",)),
        (BLOCK.replace(b"user=u1", b"user = u1"), ("user",)),
        (BLOCK.replace(b"password=", b"Password="), ("password",)),
        (BLOCK.replace(b"[shop]\n", b""), ("service",)),
        (BLOCK.replace(b"[shop]", b"[shop"), ("service",)),
        (
            BLOCK.replace(b"[shop]\nhost=db.example.com\n", b"host=db.example.com\n[shop]\n"),
            (block.ORDER,),
        ),
        (BLOCK.replace(b"port=5432\n", b"").replace(b"u1", b"u2"), ("port", "user")),
        (BLOCK.replace(b"# pgherald: shop", b"#  pgherald: shop").replace(b"#  ", b"# "), ()),
        (
            BLOCK.replace(b"# pgherald: shop/DATABASE", b"  # pgherald: shop/DATABASE"),
            (block.ORDER,),
        ),
    ],
)
def test_damage_to_our_lines_is_mended(damage: bytes, fields: tuple[str, ...]) -> None:
    """Our own lines are put right, whatever happened to them, and the change names them."""
    edit = EDITOR.plan(damage, [ENTRY])
    assert edit.new == BLOCK
    assert edit.changes == ((Change(SHOP, Action.UPDATE, fields),) if fields else ())


@pytest.mark.parametrize(
    "row",
    [
        b"?\n",
        b"service=x\n",
        b"servicefile=x\n",
        b"ldapserver=x\n",
        b"App=x\n",
        b"#" + b"x" * 1022 + b"\n",
    ],
)
def test_lines_that_spoil_our_section_move_out(row: bytes) -> None:
    """What libpq would refuse in our section goes below the block, cut off from our section."""
    edit = EDITOR.plan(typed(row), [ENTRY])
    closed = typed(CLOSING + b"\n")
    assert edit.new == closed + row
    assert edit.changes == (Change(SHOP, Action.UPDATE, (block.ORDER,)),)
    assert len(edit.warnings) == 1
    assert EDITOR.plan(edit.new, [ENTRY]).new is edit.new
    assert looked_up(typed(row), "shop") in ("refused", looked_up(BLOCK, "shop"))
    assert looked_up(edit.new, "shop") == looked_up(BLOCK, "shop")


def test_a_section_typed_into_the_block_moves_out() -> None:
    """A section of the person's between ours keeps its bytes, below the block."""
    own = b"[mine]\nhost=h\nuser=me\n"
    for place in (b"# pgherald: shop", b"[shop]", END):
        edit = EDITOR.plan(typed(own, place), [ENTRY])
        assert edit.new == BLOCK + own
        assert edit.warnings == (
            (
                "3 lines of your own inside pgherald's part moved to below it, "
                "since that part is rewritten."
            ),
        )


def test_unknown_sections_beneath_our_comment_are_not_taken_for_ours() -> None:
    """When it is not clear which section is ours, both are kept below a new one."""
    current = typed(b"[mine]\nuser=me\n", b"[shop]")
    wanted = strategies.entry(SHOP, LOGIN, "renamed")
    new = EDITOR.plan(current, [wanted]).new
    assert new.startswith(BLOCK.replace(b"[shop]", b"[renamed]"))
    assert new.endswith(b"[mine]\nuser=me\n" + BLOCK[BLOCK.index(b"[shop]") : BLOCK.index(END)])


def test_a_copied_comment_does_not_make_a_second_entry() -> None:
    """A section that someone copied with our comment is theirs: it moves below, whole."""
    copy = b"# pgherald: shop/DATABASE\n[copy]\nuser=me\n"
    edit = EDITOR.plan(typed(copy), [ENTRY])
    assert (
        edit.new == BLOCK.replace(END, CLOSING + b"\n" + END).replace(CLOSING + b"\n", b"") + copy
    )


def test_lines_before_the_first_header_do_not_join_our_section() -> None:
    """Stray lines, which libpq passed over before, are cut off by a section of their own."""
    stray = b"# mine\n\nuser=someone\n[mine]\nuser=me\n"
    edit = EDITOR.plan(stray, [ENTRY])
    assert edit.new == typed(CLOSING + b"\n") + stray
    assert looked_up(edit.new, "shop") == looked_up(BLOCK, "shop")
    assert looked_up(edit.new, "mine") == looked_up(stray, "mine")
    tidied = edit.new.replace(b"user=someone\n", b"")
    assert EDITOR.plan(tidied, [ENTRY]).new == BLOCK + stray.replace(b"user=someone\n", b"")


def test_removing_a_section_keeps_what_the_person_added() -> None:
    """As comments: libraries for INI files refuse a file with a line above its first section."""
    current = EDITOR.plan(typed(b"application_name=x\n"), [ENTRY, SECOND]).new
    edit = EDITOR.plan(current, [SECOND], remove=[SHOP])
    assert edit.new.endswith(b"\n" + END + b"#application_name=x\n")
    assert edit.changes == (Change(SHOP, Action.REMOVE),)
    assert edit.warnings
    assert EDITOR.plan(current, [], remove=[SHOP, BLOG]).new == b"#application_name=x\n"


def test_a_wanted_service_takes_the_name_of_a_left_over_one() -> None:
    """A section of ours that nobody wants any more cannot hide a wanted one of its name."""
    edit = EDITOR.plan(BLOCK, [strategies.entry(BLOG, LOGIN, "shop")])
    assert edit.changes == (Change(SHOP, Action.REMOVE), Change(BLOG, Action.ADD))
    assert edit.new == BLOCK.replace(b"shop/DATABASE", b"blog/DATABASE")


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        (b"hostaddr=192.0.2.1\n", "sends libpq there, whatever the host is"),
        (b"hots=CANARY\n", "a keyword that libpq may refuse"),
        *(
            (row + b"\n", f"`{row.decode()}` on line 10, in [shop], keeps libpq from connecting")
            for row in (
                *(b"gssencmode=require", b"target_session_attrs=read-only", b"require_auth=none"),
                *(b"sslcertmode=require", b"sslnegotiation=direct", b"sslrootcert=system"),
            )
        ),
    ],
)
def test_a_line_that_may_break_our_section_is_pointed_out(row: bytes, warning: str) -> None:
    """With its number, and no value of which nobody knows what it is; not where nobody wants the section."""
    edit = EDITOR.plan(typed(row), [ENTRY, SECOND])
    (found,) = edit.warnings
    assert warning in found
    assert "line 10" in found
    assert edit.new.split(b"\n")[9] + b"\n" == row
    assert EDITOR.plan(typed(row), []).warnings == ()


@pytest.mark.parametrize("own", [b"", b"sslrootcert=/mine.crt\n"])
def test_the_configurations_root_certificate_is_written(own: bytes) -> None:
    """In place of the person's own line; taken out of the configuration, it goes with its reason."""
    shop = dataclasses.replace(ENTRY.database, sslrootcert="/ca.crt")
    entry = dataclasses.replace(ENTRY, database=shop)
    edit = EDITOR.plan(typed(own), [entry])
    assert edit.changes == (Change(SHOP, Action.UPDATE, ("sslrootcert",)),)
    assert edit.new == typed(ASKED + b"\nsslrootcert=/ca.crt\n")
    assert EDITOR.plan(edit.new, [entry]).changes == ()
    assert EDITOR.redact(edit.new)[9:11] == [ASKED.decode(), f"sslrootcert={MASK}"]
    back = EDITOR.plan(edit.new, [ENTRY])
    assert (back.new, back.changes) == (typed(b""), edit.changes)
    assert EDITOR.plan(edit.new, [], remove=[SHOP]).new == b""


def test_a_root_certificate_of_the_persons_stays_theirs() -> None:
    """Also one that the configuration names for a while: nothing shows that it is ours."""
    own = typed(b"sslrootcert=/ca.crt\n")
    shop = dataclasses.replace(ENTRY.database, sslrootcert="/ca.crt")
    assert EDITOR.plan(own, [dataclasses.replace(ENTRY, database=shop)]).changes == ()
    assert EDITOR.plan(own, [ENTRY]).changes == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"password": Secret("CANARY ")}, "the password of shop/DATABASE ends in white space"),
        ({"password": Secret("CANARY" * 200)}, "is too long for libpq"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(fields: dict[str, object], reason: str) -> None:
    """A login without a form in this file is refused by name, with advice and no secret."""
    with pytest.raises(Inexpressible, match=reason) as caught:
        EDITOR.plan(None, [entry(**fields)])
    assert "heroku pg:credentials:rotate DATABASE --app shop" in caught.value.advice
    assert "CANARY" not in f"{caught.value!r} {caught.value}"


def test_the_known_keywords_cover_libpq() -> None:
    """Each keyword of the libpq at hand is known, so that its value is shown or masked aright."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert known <= service_file.KEYWORDS


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("host=db.example.com", "host=db.example.com"),
        ("Host = db.example.com", "Host = db.example.com"),
        ("[mine]", "[mine]"),
        ("password=CANARY", "password=" + MASK),
        ("PassWord = CANARY", "PassWord =" + MASK),
        ("dbname=postgres://u:CANARY@h/d", "dbname=" + MASK),
        ("dbname=host=h password=CANARY", "dbname=" + MASK),
        ("#password=CANARY", MASK),
        ("# host=CANARY", MASK),
        ("application_name=CANARY", MASK),
        ("sslpassword=CANARY", MASK),
        ("CANARY", MASK),
        ("host CANARY", MASK),
        ("[a] CANARY", MASK),
    ],
)
def test_redacted_line(line: str, shown: str) -> None:
    """In our part the keys that we write are shown, without the password; nothing else is."""
    ours = [block.BEGIN.decode(), "# pgherald: shop/DATABASE", "[shop]", "user=u", line]
    assert EDITOR.redact("\n".join(ours).encode()) == [*ours[:-1], shown]


@pytest.mark.parametrize(
    "line", ["host=CANARY", "password=CANARY", "# my bank: 1234", "CANARY", "[a] CANARY"]
)
def test_a_line_that_is_not_ours_is_masked_whole(line: str) -> None:
    """Whatever it looks like: anything may be in a comment. Headers and blank lines stay."""
    text = f"{block.BEGIN.decode()}\n{block.END.decode()}\n[mine]\n{line}\n\n".encode()
    assert EDITOR.redact(text)[2:] == ["[mine]", MASK, ""]


def test_what_cannot_be_printed_is_escaped() -> None:
    """A line cannot move the cursor, change colours or break in two when it is shown."""
    text = "[\x1b[31m\tä\u2028 ]\r\n[]\n".encode() + b"[\xff]\n"
    assert EDITOR.redact(text) == ["[\\x1b[31m\tä\\u2028 ]", "[]", "[\\xff]"]
