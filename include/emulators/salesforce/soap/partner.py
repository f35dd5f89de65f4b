"""POST /services/Soap/u/NN and /c/NN: login, logout, who and when, Lead conversion, merging and undeleting, of the partner and the enterprise API."""

from __future__ import annotations

import time
from collections.abc import Callable
from xml.etree import ElementTree

from emulators.salesforce.conversion import CONVERTED_STATUS, Conversion, convert_lead
from emulators.salesforce.errors import ApiError
from emulators.salesforce.merging import merge, undelete
from emulators.salesforce.org import MAX_VERSION, MIN_VERSION, ORG_ID, SESSION_HOURS, Org
from emulators.salesforce.signin import instance_url
from emulators.salesforce.soap.envelope import Request, fault_reply, local_name, read_request, result_reply
from emulators.salesforce.store import timestamp
from emulators.wire import Call, Reply

LOGIN_LAST_VERSION = 64
WRONG_LOGIN_SECONDS = 0.05  # an org takes its time over a wrong password
_NAMESPACES = {"u": "urn:partner.soap.sforce.com", "c": "urn:enterprise.soap.sforce.com"}


def answer(org: Org, call: Call, flavour: str, version: str) -> Reply:
    """Runs the operation of the envelope; errors become faults."""
    namespace = _NAMESPACES[flavour]
    faults = f"urn:fault.{namespace.removeprefix('urn:')}"
    is_login = False
    try:
        request = read_request(call.body)
        is_login = request.operation == "login"
        number = _version(version)
        if is_login:
            return _login(org, call, request, flavour, number)
        org.authenticate(request.session_id)
        org.usage.count(f"SOAP {request.operation}")
        operations: dict[str, Callable[[Org, Call, Request], list[dict[str, object]]]] = {
            "logout": _logout, "getUserInfo": _user_info, "getServerTimestamp": _server_timestamp, "convertLead": _convert_lead,
            "merge": _merge, "undelete": _undelete,
        }  # fmt: skip
        if request.operation not in operations:
            raise ApiError("INVALID_OPERATION", f"The operation {request.operation} is not built in this emulator")
        return result_reply(request.operation, namespace, operations[request.operation](org, call, request))
    except ApiError as error:
        return fault_reply(error, faults, kind="LoginFault" if is_login else "ApiFault")


def _version(version: str) -> float:
    try:
        number = float(version)
    except ValueError:
        number = 0
    if not MIN_VERSION <= number <= MAX_VERSION:
        raise ApiError("UNSUPPORTED_API_VERSION", f"Invalid Api version specified on URL: {version}")
    return number


def _login(org: Org, call: Call, request: Request, flavour: str, version: float) -> Reply:
    if version > LOGIN_LAST_VERSION:
        raise ApiError("UNSUPPORTED_API_VERSION", "login() is not available in this API version: use OAuth")
    known = org.credentials
    if request.text("username") != known.username or request.text("password") != known.password + known.security_token:
        time.sleep(WRONG_LOGIN_SECONDS)
        raise ApiError("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    session = org.sign_in()
    root = f"{instance_url(call)}/services/Soap"
    result = {
        "metadataServerUrl": f"{root}/m/{version}/{ORG_ID[:15]}", "passwordExpired": False, "sandbox": True,
        "serverUrl": f"{root}/{flavour}/{version}/{ORG_ID[:15]}", "sessionId": session, "userId": org.user_id,
        "userInfo": _user_info(org, call, request)[0],
    }  # fmt: skip
    return result_reply("login", _NAMESPACES[flavour], [result])


def _logout(org: Org, call: Call, request: Request) -> list[dict[str, object]]:
    org.revoke(request.session_id or "")
    return []


def _user_info(org: Org, call: Call, request: Request) -> list[dict[str, object]]:
    user = org.user()
    return [{
        "accessibilityMode": False, "currencySymbol": "$", "orgAttachmentFileSizeLimit": 26214400, "orgDefaultCurrencyIsoCode": "USD",
        "orgDisallowHtmlAttachments": False, "orgHasPersonAccounts": False, "organizationId": ORG_ID, "organizationMultiCurrency": False,
        "organizationName": "Emulated Org", "profileId": user["ProfileId"], "roleId": "", "sessionSecondsValid": SESSION_HOURS * 3600,
        "userDefaultCurrencyIsoCode": "", "userEmail": user["Email"], "userFullName": user["Name"], "userId": user["Id"],
        "userLanguage": user["LanguageLocaleKey"], "userLocale": user["LocaleSidKey"], "userName": user["Username"],
        "userTimeZone": user["TimeZoneSidKey"], "userType": user["UserType"], "userUiSkin": "Theme3",
    }]  # fmt: skip


def _server_timestamp(org: Org, call: Call, request: Request) -> list[dict[str, object]]:
    return [{"timestamp": timestamp(org.clock.now())}]


def _convert_lead(org: Org, call: Call, request: Request) -> list[dict[str, object]]:
    """A result for each of the leadConverts, in their order; each is converted or not on its own."""
    results: list[dict[str, object]] = []
    for order in (node for node in request.element if local_name(node) == "leadConverts"):
        try:
            results.append({**convert_lead(org, _conversion(order)), "success": True})
        except ApiError as error:
            results.append({"errors": {"message": error.message, "statusCode": error.code}, "success": False})
    return results


def _merge(org: Org, call: Call, request: Request) -> list[dict[str, object]]:
    """A result for each MergeRequest, in their order."""
    results: list[dict[str, object]] = []
    for order in (node for node in request.element if local_name(node) == "request"):
        master: dict[str, str] = {}
        losers = []
        for node in order:
            if local_name(node) == "masterRecord":
                master = {
                    local_name(child): child.text or ""
                    for child in node
                    if local_name(child) not in ("type", "fieldsToNull")
                }
            elif local_name(node) == "recordToMergeIds":
                losers.append((node.text or "").strip())
        try:
            results.append(merge(org, master.pop("Id", ""), losers, master))
        except ApiError as error:
            results.append({"errors": {"message": error.message, "statusCode": error.code}, "success": False})
    return results


def _undelete(org: Org, call: Call, request: Request) -> list[dict[str, object]]:
    return undelete(org, [(node.text or "").strip() for node in request.element if local_name(node) == "ids"])


def _conversion(node: ElementTree.Element) -> Conversion:
    given = {local_name(child): (child.text or "").strip() for child in node}
    return Conversion(
        lead_id=given.get("leadId", ""),
        account_id=given.get("accountId") or None,
        contact_id=given.get("contactId") or None,
        with_opportunity=given.get("doNotCreateOpportunity", "false") != "true",
        opportunity_name=given.get("opportunityName") or None,
        status=given.get("convertedStatus") or CONVERTED_STATUS,
    )
