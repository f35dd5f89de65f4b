"""The metadata types that can be deployed here: where their files lie in a package. What is not listed is refused, not swallowed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetadataType:
    name: str
    folder: str
    suffix: str
    in_folder: bool = False
    children: tuple[str, ...] = ()


OBJECT_CHILDREN = {
    "fields": "CustomField", "validationRules": "ValidationRule", "webLinks": "WebLink", "listViews": "ListView", "recordTypes": "RecordType",
    "fieldSets": "FieldSet", "compactLayouts": "CompactLayout", "businessProcesses": "BusinessProcess", "indexes": "Index",
}  # fmt: skip

TYPES = (
    MetadataType("CustomObject", "objects", "object", children=tuple(OBJECT_CHILDREN.values())),
    MetadataType("CustomTab", "tabs", "tab"),
    MetadataType("CustomApplication", "applications", "app"),
    MetadataType("GlobalValueSet", "globalValueSets", "globalValueSet"),
    MetadataType("CustomLabels", "labels", "labels"),
    MetadataType("QuickAction", "quickActions", "quickAction"),
    MetadataType("Layout", "layouts", "layout"),
    MetadataType("FlexiPage", "flexipages", "flexipage"),
    MetadataType("PermissionSet", "permissionsets", "permissionset"),
    MetadataType("Profile", "profiles", "profile"),
    MetadataType("RemoteSiteSetting", "remoteSiteSettings", "remoteSite"),
    MetadataType("ReportType", "reportTypes", "reportType"),
    MetadataType("Report", "reports", "report", in_folder=True),
    MetadataType("Dashboard", "dashboards", "dashboard", in_folder=True),
)
BY_NAME = {item.name: item for item in TYPES}
BY_FOLDER = {item.folder: item for item in TYPES}
KNOWN_NAMES = frozenset(BY_NAME) | frozenset(OBJECT_CHILDREN.values())
FOLDER_SUFFIXES = {"reportFolder", "dashboardFolder"}
