"""A deployment package: the zip file, its package.xml and destructiveChanges.xml, and the components in it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

from emulators.salesforce.errors import ApiError
from emulators.salesforce.metadata.types import BY_FOLDER, BY_NAME, FOLDER_SUFFIXES, OBJECT_CHILDREN

NAMESPACE = "{http://soap.sforce.com/2006/04/metadata}"
_DESTRUCTIVE = ("destructiveChangesPre.xml", "destructiveChanges.xml", "destructiveChangesPost.xml")
ElementTree.register_namespace("", NAMESPACE.strip("{}"))
Names = set[tuple[str, str]]  # (type, full name)


@dataclass(frozen=True)
class Problem:
    """Why a component cannot be deployed, or (`is_warning`) what is odd about it."""

    text: str
    is_warning: bool = False
    line: int | None = None
    column: int | None = None


@dataclass
class Component:
    """One thing to deploy. `root` is its XML; None when that cannot be read, and then `problem` says why."""

    type: str
    full_name: str
    file_name: str
    root: ElementTree.Element | None = None
    content: bytes = b""
    problem: Problem | None = None

    @property
    def inner(self) -> str:
        """The XML within its element, without full name and, of an object, without what are components of their own."""
        left_out = {"fullName", *(OBJECT_CHILDREN if self.type == "CustomObject" else ())}
        nodes = (
            []
            if self.root is None
            else [node for node in self.root if str(node.tag).removeprefix(NAMESPACE) not in left_out]
        )
        text = "".join(ElementTree.tostring(node, encoding="unicode").strip() for node in nodes)
        return text.replace(f' xmlns="{NAMESPACE.strip("{}")}"', "")


@dataclass
class Package:
    components: list[Component] = field(default_factory=list)
    named: Names = field(default_factory=set)  # what package.xml lists, without wildcards
    wildcards: set[str] = field(default_factory=set)
    destructive: list[tuple[str, str]] = field(default_factory=list)
    manifest: bytes = b""

    def lists(self, component: Component) -> bool:
        """Whether package.xml names the component, or its object, or all of its type."""
        if component.type in self.wildcards or (component.type, component.full_name) in self.named:
            return True
        return "." in component.full_name and ("CustomObject", component.full_name.partition(".")[0]) in self.named


def read_package(content: bytes, *, single: bool = True) -> Package:
    """The package in a zip file, at its top when it is to be the `single` one; ApiError when there is none."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        names = [name for name in archive.namelist() if not name.endswith("/")]
        files = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise ApiError("INVALID_ZIP", f"The zip file cannot be read: {error}") from error
    manifest = next(
        (name for name in names if name == "package.xml" or (not single and name.endswith("/package.xml"))), None
    )
    if manifest is None:
        raise ApiError("INVALID_PACKAGE", "No package.xml found")
    base = manifest.removesuffix("package.xml")
    package = Package(manifest=files[manifest])
    package.named, package.wildcards = _members(files[manifest])
    for name in _DESTRUCTIVE:
        if base + name in files:
            package.destructive += sorted(_members(files[base + name])[0])
    for name, body in files.items():
        folder, _, rest = name.removeprefix(base).partition("/")
        if rest:
            package.components += _components(folder, rest, name, body)
    return package


def _members(manifest: bytes) -> tuple[Names, set[str]]:
    try:
        root = ElementTree.fromstring(manifest)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ApiError("INVALID_PACKAGE", f"Error parsing package.xml: {error}") from error
    named: Names = set()
    wildcards: set[str] = set()
    for group in root.iter(f"{NAMESPACE}types"):
        kind = (group.findtext(f"{NAMESPACE}name") or "").strip()
        for member in group.iter(f"{NAMESPACE}members"):
            text = (member.text or "").strip().rstrip("/")  # tools name a folder with a slash at its end
            if text == "*":
                wildcards.add(kind)
            elif text:
                named.add((kind, text))
    return named, wildcards


def _components(folder: str, rest: str, file_name: str, body: bytes) -> Iterator[Component]:
    stem, _, suffix = rest.removesuffix("-meta.xml").rpartition(".")
    kind = BY_FOLDER.get(folder)
    if kind is None:
        yield Component(folder, rest, file_name, problem=Problem(f"Unknown or unsupported metadata folder '{folder}'"))
        return
    if suffix in FOLDER_SUFFIXES or (kind.in_folder and "/" not in stem):
        yield _parsed(Component(kind.name, stem or rest.removesuffix("-meta.xml"), file_name, content=body))
        return
    whole = _parsed(Component(kind.name, stem, file_name, content=body))
    yield whole
    if kind.name == "CustomObject" and whole.root is not None:
        yield from children_of(whole)


def children_of(whole: Component) -> Iterator[Component]:
    """The fields, validation rules and the like that lie within an object's file."""
    assert whole.root is not None
    for node in whole.root:
        kind = OBJECT_CHILDREN.get(str(node.tag).removeprefix(NAMESPACE))
        if kind:
            name = (node.findtext(f"{NAMESPACE}fullName") or "").strip()
            yield Component(kind, f"{whole.full_name}.{name}", whole.file_name, root=node)


def _parsed(component: Component) -> Component:
    try:
        component.root = ElementTree.fromstring(component.content)
    except ElementTree.ParseError as error:
        line, column = error.position
        component.problem = Problem(f"Error parsing file: {error}", line=line, column=column + 1)
        return component
    except (ValueError, LookupError) as error:
        component.problem = Problem(f"Error parsing file: {error}", line=1, column=1)
        return component
    expected = BY_NAME[component.type].name
    found = str(component.root.tag).removeprefix(NAMESPACE)
    if found not in (expected, f"{expected}Folder"):
        component.problem = Problem(
            f"Entity type: '{found}' is unknown or is not what the folder of '{component.file_name}' holds"
        )
    return component
