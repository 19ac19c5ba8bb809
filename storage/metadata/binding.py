"""Frozen dataclasses as XML and back, without loss.

A class is an element's type; its fields, in order, are what the element holds: `str`, `int` and `Decimal` are text, a
dataclass is an element with elements, `... | None` may be absent, `tuple[..., ...]` stands as often as it has members.
A field has the name of its element, unless `element` says otherwise; `attribute` and `content` are what they say.
Of several classes that one element may be, each has its `TYPE`, the value of `xsi:type`. Elements of a class with
`ANY_ORDER` are read in any order, and written in that of its fields.

Same values, same bytes: UTF-8, indented by two spaces. Reading is strict: what has no place in the class (an unknown
element, an attribute, one too many, another order) is refused and not lost. Comments are no metadata and are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from lxml import etree

from terp.storage.errors import BadMetadata

type Element = Any  # lxml has no types of its own

LIMIT = 64 << 20  # bytes of one file: metadata of 100,000 parts is smaller
XSI = "http://www.w3.org/2001/XMLSchema-instance"
TYPE = f"{{{XSI}}}type"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?")


def attribute(name: str = "", *, required: bool = False, default: str | None = None) -> Any:
    """Return a field that is an attribute of its element; `name` where that is no Python name."""
    facts = {"role": "attribute", "name": name}
    return field(metadata=facts) if required else field(default=default, metadata=facts)


def content() -> Any:
    """Return a field that is the text of its element."""
    return field(metadata={"role": "content"})


def element(name: str, *, within: str = "", default: Any = ()) -> Any:
    """Return a field whose element has a name of its own, all of them `within` one element where that is given."""
    return field(default=default, metadata={"name": name, "within": within})


@dataclass(frozen=True)
class Part:
    """What a field of a class is in XML: `kind` the type of one value, `needed` where there must be one at least."""

    field: str
    name: str
    within: str
    role: str
    kind: Any
    optional: bool
    many: bool
    needed: bool

    @property
    def tag(self) -> str:
        """The name that stands in the class's own element."""
        return self.within or self.name


def parts(kind: Any) -> tuple[Part, ...]:
    """Return what the fields of a dataclass are in XML, in their order."""
    return _parts(kind)


@cache
def _parts(kind: Any) -> tuple[Part, ...]:
    hints = get_type_hints(kind)
    return tuple(_part(one, hints[one.name]) for one in fields(kind))


def _part(one: Field[Any], hint: Any) -> Part:
    facts, many = one.metadata, get_origin(hint) is tuple
    optional = many or (isinstance(hint, UnionType) and type(None) in get_args(hint))
    kind = get_args(hint)[0] if optional else hint
    name, within, role = facts.get("name") or one.name, facts.get("within", ""), facts.get("role", "element")
    return Part(one.name, name, within, role, kind, optional, many, needed=many and one.default is MISSING)


def walk(value: Any, name: str, where: str) -> Iterator[tuple[str, Any, str]]:
    """Return all there is in a dataclass, itself first, each with the name and the path of its element."""
    yield name, value, where
    for part in parts(type(value)) if is_dataclass(value) else ():
        held, place = getattr(value, part.field), f"{where}/{part.tag}" if part.role == "element" else where
        for number, one in enumerate(held if part.many else () if held is None else (held,), 1):
            yield from walk(one, part.name, f"{place}[{number}]" if part.many and len(held) > 1 else place)


def faults(value: str, where: str) -> list[str]:
    """Return what is wrong with a text in any of the standards: it is blank, or XML cannot hold it."""
    try:
        text(value, where)
    except BadMetadata as wrong:
        return [str(wrong)]
    return [] if value.strip() else [f"{where} is blank: say what it is, or leave it out where the standard lets you"]


def build(value: Any, name: str, namespace: str, schema: str) -> Element:
    """Return the root element `name` for a dataclass, with a note that its schema is at the URL `schema`."""
    made = etree.Element(f"{{{namespace}}}{name}", nsmap={None: namespace, "xsi": XSI})
    made.set(f"{{{XSI}}}schemaLocation", f"{namespace} {schema}")  # XML Schema part 1, section 4.3.2
    _fill(made, value, namespace, name)
    return made


def to_bytes(root: Element) -> bytes:
    """Return the file of an element: UTF-8, indented, the same for the same element."""
    etree.indent(root, "  ")
    written: str = etree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'.encode()


def _fill(made: Element, value: Any, namespace: str, where: str) -> None:
    if hasattr(value, "TYPE"):
        made.set(TYPE, value.TYPE)
    for part in parts(type(value)):
        held, place = getattr(value, part.field), f"{where}/{part.name.rpartition('}')[2]}"
        values = held if part.many else () if held is None else (held,)
        if part.role == "element":
            _append(made, part, values, namespace, place)
        elif part.role == "content":
            made.text = text(held, where)
        elif values:
            made.set(part.name, text(held, place))


def _append(made: Element, part: Part, values: tuple[Any, ...], namespace: str, place: str) -> None:
    around = etree.SubElement(made, f"{{{namespace}}}{part.within}") if part.within and values else made
    for one in values:
        inner = etree.SubElement(around, f"{{{namespace}}}{part.name}")
        if is_dataclass(one):
            _fill(inner, one, namespace, place)
        else:
            inner.text = text(one, place)


def text(held: str | int | Decimal, where: str) -> str:
    """Return what is written of a value; BadMetadata where it has a character that no XML can hold."""
    written = format(held, "f") if isinstance(held, Decimal) else str(held)
    if found := _FORBIDDEN.search(written):
        number = f"U+{ord(found[0]):04X}"
        raise BadMetadata(f"{where} has the character {number} ({written[:60]!r}), which XML cannot hold; take it out")
    return written


def parse(data: bytes, where: str) -> Element:
    """Return the root of an XML file that may come from anyone; BadMetadata, naming `where`, when it cannot be read.

    No entities, no document type, nothing fetched; up to LIMIT bytes.
    """
    if len(data) > LIMIT:
        raise BadMetadata(f"{where} has {len(data):,} bytes; metadata of more than {LIMIT:,} is not read")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as wrong:
        raise BadMetadata(f"{where} is not well-formed XML: {wrong}") from None
    if root.getroottree().docinfo.doctype:
        raise BadMetadata(f"{where} has a document type (DOCTYPE), which may name entities; take it out")
    for name in ("schemaLocation", "noNamespaceSchemaLocation"):
        root.attrib.pop(f"{{{XSI}}}{name}", None)
    return root


def read(kind: Any, found: Element, where: str) -> Any:
    """Return the dataclass `kind` of an element; BadMetadata, with the path in `where`, when it is not one."""
    if isinstance(kind, UnionType):
        kind = _named(kind, found, where)
    if not is_dataclass(kind):
        _refuse_attributes(found, (), where)
        return _value(kind, found, where)
    shape = parts(kind)
    attributes = {part.name: part.field for part in shape if part.role == "attribute"}
    _refuse_attributes(found, (*attributes, *([TYPE] if hasattr(kind, "TYPE") else ())), where)
    values: dict[str, Any] = {part: found.get(name) for name, part in attributes.items()}
    if texts := [part for part in shape if part.role == "content"]:
        values[texts[0].field] = _value(texts[0].kind, found, where)
    else:
        ours = [part for part in shape if part.role == "element"]
        values |= _elements(ours, found, where, ordered=not hasattr(kind, "ANY_ORDER"))
    for part in shape:
        if values[part.field] is None and not part.optional:
            raise BadMetadata(f"{where} has no {part.tag}, which it must have")
    return cast("Any", kind)(**values)


def _named(kinds: UnionType, found: Element, where: str) -> Any:
    """Return the one of `kinds` that the element says it is."""
    prefix, _, name = found.get(TYPE, "").rpartition(":")
    if found.nsmap.get(prefix or None) == etree.QName(found).namespace:
        for kind in get_args(kinds):
            if name == kind.TYPE:
                return kind
    names = ", ".join(kind.TYPE for kind in get_args(kinds))
    raise BadMetadata(f"{where} says with xsi:type that it is {name or 'nothing'!r}; it can be {names}")


def _refuse_attributes(found: Element, known: tuple[str, ...], where: str) -> None:
    if strange := sorted(str(name) for name in found.attrib if name not in known):
        raise BadMetadata(f"{where} has the attribute {strange[0].rpartition('}')[2]}, which it cannot have")


def _elements(shape: list[Part], found: Element, where: str, *, ordered: bool) -> dict[str, Any]:
    """Return the fields of `found` that are elements."""
    if (found.text or "").strip() or any((one.tail or "").strip() for one in found):
        raise BadMetadata(f"{where} has text between its elements, where none can stand")
    values = {part.field: list[Any]() for part in shape}
    tags, seen, at = [part.tag for part in shape], set[str](), 0
    for inner in found:
        name = local(inner, found, where)
        if name not in tags:
            raise BadMetadata(f"{where} has the element {name}, which has no place there")
        before, at = at, tags.index(name)
        part = shape[at]
        if at < before and ordered:
            raise BadMetadata(f"{where} has {name} after {tags[before]}; the order is {', '.join(tags)}")
        if name in seen and (part.within or not part.many):
            raise BadMetadata(f"{where} has more than one {name}, and can have one")
        seen.add(name)
        values[part.field].extend(_members(part, inner, f"{where}/{name}"))
    return {
        part.field: tuple(held) if part.many else next(iter(held), None)
        for part, held in zip(shape, values.values(), strict=True)
    }


def _members(part: Part, inner: Element, where: str) -> Iterator[Any]:
    if not part.within:
        yield read(part.kind, inner, where)
        return
    _refuse_attributes(inner, (), where)
    for one in inner:
        if (name := local(one, inner, where)) != part.name:
            raise BadMetadata(f"{where} has the element {name}, which has no place there")
        yield read(part.kind, one, f"{where}/{name}")


def _value(kind: Any, found: Element, where: str) -> str | int | Decimal:
    """Return the text of an element as what it should be."""
    if len(found):
        raise BadMetadata(f"{where} has elements, where a text should stand")
    text = found.text or ""
    if kind is str:
        return text
    if (_WHOLE if kind is int else _DECIMAL).fullmatch(text.strip()):
        return cast("int | Decimal", kind(text.strip()))
    raise BadMetadata(f"{where} is {text[:40]!r}, and should be a {'whole ' if kind is int else ''}number")


def local(inner: Element, found: Element, where: str) -> str:
    """Return the name of an inner element without its namespace, which must be that of `found`."""
    namespace, name = etree.QName(found).namespace, etree.QName(inner)
    if name.namespace != namespace:
        raise BadMetadata(f"{where} has {name.localname}, which is not of {namespace}")
    return cast("str", name.localname)
