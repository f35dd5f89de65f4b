"""Sign-in by OAuth: the token endpoint's grants, revocation, and who a session belongs to. SOAP's login is in soap/partner.py."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote, urlencode

import jwt

from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import ORG_ID, Org
from emulators.wire import Call, Reply

JWT_LIFETIME_SECONDS = 180
LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
MY_DOMAIN = "emulated-org.my.salesforce.com"
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
    if form.get("grant_type") == "authorization_code":  # nobody can sign in on a page here, so no code is ever good
        return _refused("invalid_grant", "invalid authorization code")
    grant = grants.get(form.get("grant_type", ""))
    if grant is None:
        return _refused("unsupported_grant_type", "grant type not supported")
    client_id, client_secret = _client(call, form)
    problem = grant(org, call, form, client_id, client_secret)
    if problem is not None:
        return problem
    fresh = None
    try:
        family, fresh = org.use_refresh_token(form["refresh_token"]) if grant is _refresh_token else (None, None)
        access_token = org.sign_in(family)
    except ApiError as error:
        return _refused("invalid_grant", error.message)
    issued = str(int(org.clock.now().timestamp() * 1000))
    body = {
        "access_token": access_token,
        "signature": base64.b64encode(f"fake signature {issued}".encode()).decode(),
        "scope": "api id refresh_token",
        "instance_url": instance_url(call),
        "id": f"{call.base_url}{org.identity_path}",
        "token_type": "Bearer",
        "issued_at": issued,
    }
    if form.get("format") == "urlencoded":
        return Reply(urlencode(body), content_type="application/x-www-form-urlencoded")
    return Reply(body | ({"refresh_token": fresh} if fresh else {}))


def revoke(org: Org, call: Call) -> Reply:
    """POST or GET /services/oauth2/revoke?token=: an access token, or a refresh token with every session that came of it."""
    token = (call.form() if call.method == "POST" else {}).get("token") or call.query.get("token", "")
    return (
        Reply(status=200, body=b"")
        if org.revoke(token)
        else _refused("unsupported_token_type", "this token type is not supported")
    )


def introspect(org: Org, call: Call) -> Reply:
    """POST /services/oauth2/introspect: whether a token is valid."""
    form = call.form()
    problem = _check_client(org, *_client(call, form))
    if problem is not None:
        return problem
    session = org.sessions.get(form.get("token", ""))
    if session is None or session.expires <= org.clock.now():
        return Reply({"active": False})
    return Reply({
        "active": True, "scope": "api id refresh_token", "client_id": org.credentials.consumer_key, "username": org.credentials.username,
        "sub": f"{call.base_url}{org.identity_path}", "token_type": "access_token", "exp": int(session.expires.timestamp()),
    })  # fmt: skip


def userinfo(org: Org, call: Call) -> Reply:
    """GET or POST /services/oauth2/userinfo, with all its keys."""
    user = org.user()
    about = _about(org, call)
    return Reply({
        "sub": f"{call.base_url}{org.identity_path}", "user_id": user["Id"], "organization_id": ORG_ID,
        "preferred_username": user["Username"], "nickname": user["Alias"], "name": user["Name"], "email": user["Email"],
        "email_verified": True, "given_name": user["FirstName"], "family_name": user["LastName"], "zoneinfo": user["TimeZoneSidKey"],
        "photos": about["photos"], "profile": f"{call.base_url}/{user['Id']}", "picture": about["photos"]["picture"],
        "address": {}, "urls": about["urls"], "active": bool(user["IsActive"]), "user_type": "STANDARD",
        "language": user["LanguageLocaleKey"], "locale": user["LocaleSidKey"], "utcOffset": 0,
        "updated_at": user["LastModifiedDate"].replace(".000Z", "Z"), "is_app_installed": True,
    })  # fmt: skip


def identity(org: Org, call: Call) -> Reply:
    """GET /id/ORG/USER: the identity service."""
    user = org.user()
    return Reply({
        "id": f"{call.base_url}{org.identity_path}", "asserted_user": True, "user_id": user["Id"], "organization_id": ORG_ID,
        "username": user["Username"], "nick_name": user["Alias"], "display_name": user["Name"], "email": user["Email"],
        "email_verified": True, "first_name": user["FirstName"], "last_name": user["LastName"], "timezone": user["TimeZoneSidKey"],
        **_about(org, call), "active": bool(user["IsActive"]), "user_type": "STANDARD", "language": user["LanguageLocaleKey"],
        "locale": user["LocaleSidKey"], "utcOffset": 0, "last_modified_date": user["LastModifiedDate"].replace(".000Z", "Z"),
        "is_app_installed": True,
    })  # fmt: skip


def _about(org: Org, call: Call) -> dict[str, Any]:
    base, user_id = call.base_url, org.user_id
    data = f"{base}/services/data/v{{version}}"
    urls = {
        "enterprise": f"{base}/services/Soap/c/{{version}}/{ORG_ID[:15]}", "metadata": f"{base}/services/Soap/m/{{version}}/{ORG_ID[:15]}",
        "partner": f"{base}/services/Soap/u/{{version}}/{ORG_ID[:15]}", "rest": f"{data}/", "sobjects": f"{data}/sobjects/",
        "search": f"{data}/search/", "query": f"{data}/query/", "tooling_rest": f"{data}/tooling/", "profile": f"{base}/{user_id}",
        "custom_domain": base,
    }  # fmt: skip
    photos = {"picture": f"{base}/profilephoto/005/F", "thumbnail": f"{base}/profilephoto/005/T"}
    return {"urls": urls, "photos": photos}


def instance_url(call: Call) -> str:
    """Where the org is: where the call went, or the org's own host when it went to a login host, which serves no data."""
    scheme, _, host = call.base_url.partition("://")
    return f"{scheme}://{MY_DOMAIN}" if host.lower() in LOGIN_HOSTS else call.base_url


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
    if call.headers.get("host", "").lower() in LOGIN_HOSTS:
        return _refused("invalid_grant", "request not supported on this domain")
    return _check_client(org, client_id, client_secret)


def _password(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    known = org.credentials
    good = form.get("username") == known.username and form.get("password") in (known.password + known.security_token,)
    return _check_client(org, client_id, client_secret) or (
        None if good else _refused("invalid_grant", "authentication failure")
    )


def _refresh_token(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    if client_id != org.credentials.consumer_key:
        return _refused("invalid_client_id", "client identifier invalid")
    if client_secret and client_secret != org.credentials.consumer_secret:
        return _refused("invalid_client", "invalid client credentials", status=401)
    return None if form.get("refresh_token") else _refused("invalid_request", "refresh_token is missing")


def _jwt_bearer(org: Org, call: Call, form: dict[str, str], client_id: str, client_secret: str) -> Reply | None:
    try:
        claims = jwt.decode(
            form.get("assertion", ""),
            org.public_key,
            algorithms=["RS256"],
            options={"verify_aud": False, "verify_exp": False},
        )
        expires = int(claims.get("exp", 0))
    except (jwt.InvalidTokenError, ValueError):
        return _refused("invalid_grant", "invalid assertion")
    audience = str(claims.get("aud", "")).rstrip("/")
    if audience not in _AUDIENCES:
        return _refused("invalid_grant", "audience is invalid")
    now = org.clock.now().timestamp()
    if expires < now or expires > now + JWT_LIFETIME_SECONDS + 60:
        return _refused("invalid_grant", "expired authorization code" if expires < now else "invalid assertion")
    if claims.get("iss") != org.credentials.consumer_key:
        return _refused("invalid_client_id", "client identifier invalid")
    if claims.get("sub") != org.credentials.username:
        return _refused("invalid_grant", "user hasn't approved this consumer")
    return None
