"""Deployment packages: the SFDX project in the form that the Metadata API takes, and small ones by hand."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

SFDX = Path(__file__).parents[2] / "include" / "salesforce"
URI = "http://soap.sforce.com/2006/04/metadata"
_FOLDERS = {
    "applications": "CustomApplication", "dashboards": "Dashboard", "layouts": "Layout", "objects": "CustomObject", "permissionsets": "PermissionSet",
    "quickActions": "QuickAction", "reports": "Report", "reportTypes": "ReportType", "tabs": "CustomTab",
}  # fmt: skip
_CHILDREN = {"fields": "fields", "webLinks": "webLinks"}
ElementTree.register_namespace("", URI)


def package(files: dict[str, str], *, destructive: dict[str, list[str]] | None = None) -> bytes:
    """A zip with these files (the path within the package -> the inner XML of the component) and a package.xml that names them all."""
    buffer = io.BytesIO()
    named: dict[str, list[str]] = {}
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, inner in files.items():
            folder, _, rest = path.partition("/")
            kind = _FOLDERS[folder]
            tag = f"{kind}Folder" if rest.endswith("Folder-meta.xml") else kind
            named.setdefault(kind, []).append(rest.removesuffix("-meta.xml").rpartition(".")[0])
            archive.writestr(path, f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag} xmlns="{URI}">{inner}</{tag}>')
        archive.writestr("package.xml", _manifest(named))
        if destructive:
            archive.writestr("destructiveChanges.xml", _manifest(destructive))
    return buffer.getvalue()


def _manifest(named: dict[str, list[str]]) -> str:
    groups = "".join(
        f"<types>{''.join(f'<members>{name}</members>' for name in names)}<name>{kind}</name></types>"
        for kind, names in named.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Package xmlns="{URI}">{groups}<version>66.0</version></Package>'


def sfdx_package(folder: str) -> bytes:
    """One package directory of the SFDX project, converted as deploying tools do."""
    main = SFDX / folder / "main" / "default"
    files: dict[str, str] = {}
    for path in sorted(main.rglob("*-meta.xml")):
        parts = path.relative_to(main).parts
        if parts[0] == "objects":
            continue
        is_folder = path.name.endswith("Folder-meta.xml")
        name = "/".join(parts) if is_folder else "/".join(parts).removesuffix("-meta.xml")
        files[name] = _inner(path)
    for path in sorted((main / "objects").glob("*")):
        meta = path / f"{path.name}.object-meta.xml"
        children = "".join(
            f"<{tag}>{_inner(child)}</{tag}>" for tag in _CHILDREN for child in sorted(path.glob(f"{tag}/*-meta.xml"))
        )
        files[f"objects/{path.name}.object"] = children + (_inner(meta) if meta.exists() else "")
    return package(files)


def _inner(path: Path) -> str:
    root = ElementTree.parse(path).getroot()
    return "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
