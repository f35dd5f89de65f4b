"""Sign-in: the OAuth token endpoint's grants and the SOAP login call."""

from __future__ import annotations

import base64
import time
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import jwt

from emulators.salesforce.org import ORG_ID, Org
from emulators.wire import Call, Reply

SOAP_LOGIN_LAST_VERSION = 64
JWT_LIFETIME_SECONDS = 180
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")


def token(org: Org, call: Call) -> Reply:
    """POST /services/oauth2/token, all grants."""
    form = call.form()
    grants = {
        "client_credentials": _client_credentials,
        "password": _password,
        "refresh_token": _refresh_token,
        "urn:ietf:params:oauth:grant-type:jwt-bearer": _jwt_bearer,
    }
    grant = grants.get(form.get("grant_type", ""))
    if grant is None:
        return _refused("unsupported_grant_type", "grant type not supported")
    client_id, client_secret = _client(call, form)
    problem = grant(org, call, form, client_id, client_secret)
    if problem is not None:
        return problem
    access_token = org.sign_in()
    issued = str(int(org.clock.now().timestamp() * 1000))
    body = {
        "access_token": access_token,
        "instance_url": call.base_url,
        "id": f"{call.base_url}/id/{ORG_ID}/{org.user_id}",
        "token_type": "Bearer",
        "issued_at": issued,
        "signature": base64.b64encode(f"fake signature {issued}".encode()).decode(),
        "scope": "api id refresh_token",
    }
    return Reply(body)


def _client(call: Call, form: dict[str, str]) -> tuple[str, str]:
    scheme, _, value = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return "", ""
        return unquote(name), unquote(secret)
    return form.get("client_id", ""), form.get("client_secret", "")


def _refused(error: str, description: str, status: int = 400) -> Reply:
    return Reply({"error": error, "error_description": description}, status=status)


def _check_client(org: Org, client_id: str, client_secret: str) -> Reply | None:
    if client_id != org.credentials.consumer_key:
        return _refused("invalid_client_id", "client identifier invalid")
    if client_secret != org.credentials.consumer_secret:
        return _refused("invalid_client", "invalid client credentials", status=401)
    return None


def _client_credentials(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    if call.headers.get("host", "").lower() in ("login.salesforce.com", "test.salesforce.com"):
        return _refused("invalid_grant", "request not supported on this domain")
    return _check_client(org, client_id, client_secret)


def _password(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    known = org.credentials
    good = form.get("username") == known.username and form.get("password") in (known.password + known.security_token,)
    return _check_client(org, client_id, client_secret) or (None if good else _refused("invalid_grant", "authentication failure"))


def _refresh_token(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    if form.get("refresh_token") != org.credentials.refresh_token:
        return _refused("invalid_grant", "expired access/refresh token")
    return None if client_id == org.credentials.consumer_key else _refused("invalid_client_id", "client identifier invalid")


def _jwt_bearer(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    try:
        claims = jwt.decode(form.get("assertion", ""), org.public_key, algorithms=["RS256"], options={"verify_aud": False, "verify_exp": False})
        expires = int(claims.get("exp", 0))
    except (jwt.InvalidTokenError, ValueError):
        return _refused("invalid_grant", "invalid assertion")
    audience = str(claims.get("aud", "")).rstrip("/")
    if audience not in (*_AUDIENCES, call.base_url):
        return _refused("invalid_grant", "audience is invalid")
    now = org.clock.now().timestamp()
    if expires < now or expires > now + JWT_LIFETIME_SECONDS + 60:
        return _refused("invalid_grant", "expired authorization code" if expires < now else "invalid assertion")
    if claims.get("iss") != org.credentials.consumer_key:
        return _refused("invalid_client_id", "client identifier invalid")
    if claims.get("sub") != org.credentials.username:
        return _refused("invalid_grant", "user hasn't approved this consumer")
    return None


def soap_login(org: Org, call: Call, flavour: str, version: str) -> Reply:
    """POST /services/Soap/u/NN and /c/NN: login() only."""
    namespace = "urn:partner.soap.sforce.com" if flavour == "u" else "urn:enterprise.soap.sforce.com"
    fault_namespace = f"urn:fault.{namespace.removeprefix('urn:')}"
    if float(version) > SOAP_LOGIN_LAST_VERSION:
        return _soap_fault("UNSUPPORTED_API_VERSION", "login() is not available in this API version", fault_namespace)
    try:
        root = ElementTree.fromstring(call.body)
    except ElementTree.ParseError as error:
        return _soap_fault("UNKNOWN_EXCEPTION", str(error), fault_namespace)
    texts = {node.tag.rpartition("}")[2]: (node.text or "") for node in root.iter()}
    known = org.credentials
    if texts.get("username") != known.username or texts.get("password") != known.password + known.security_token:
        time.sleep(0.05)
        return _soap_fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.", fault_namespace)
    session, base = org.sign_in(), call.base_url
    short_org = ORG_ID[:15]
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns="{namespace}"><soapenv:Body><loginResponse><result>'
        f"<metadataServerUrl>{base}/services/Soap/m/{version}/{short_org}</metadataServerUrl><passwordExpired>false</passwordExpired>"
        f"<sandbox>true</sandbox><serverUrl>{base}/services/Soap/{flavour}/{version}/{short_org}</serverUrl>"
        f"<sessionId>{session}</sessionId><userId>{org.user_id}</userId>"
        f"<userInfo><organizationId>{ORG_ID}</organizationId><userName>{known.username}</userName></userInfo>"
        "</result></loginResponse></soapenv:Body></soapenv:Envelope>"
    )
    return Reply(body, content_type="text/xml;charset=UTF-8")


def _soap_fault(code: str, message: str, namespace: str) -> Reply:
    text = escape(message)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:sf="{namespace}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>'
        f'<faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring><detail><sf:LoginFault xsi:type="sf:LoginFault">'
        f"<sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{text}</sf:exceptionMessage></sf:LoginFault></detail>"
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )
    return Reply(body, status=500, content_type="text/xml;charset=UTF-8")
