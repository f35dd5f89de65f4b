"""Domains as companies use them: the registrable part of whatever was written, and never a public mail provider's."""

from __future__ import annotations

import ipaddress
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tldextract import TLDExtract

# Providers whose domain says nothing of the company: the mailbox services with the most users, by country.
PUBLIC_MAIL_DOMAINS = frozenset({
    "126.com", "163.com", "aol.com", "bluewin.ch", "comcast.net", "fastmail.com", "free.fr", "freenet.de", "gmail.com", "gmx.at", "gmx.ch",
    "gmx.com", "gmx.de", "gmx.net", "googlemail.com", "hey.com", "hotmail.co.uk", "hotmail.com", "hotmail.fr", "icloud.com", "kpnmail.nl",
    "laposte.net", "libero.it", "live.com", "live.nl", "mac.com", "mail.com", "mail.ru", "me.com", "msn.com", "naver.com", "orange.fr",
    "outlook.com", "outlook.de", "outlook.fr", "proton.me", "protonmail.com", "qq.com", "rediffmail.com", "sbcglobal.net", "t-online.de",
    "tutanota.com", "verizon.net", "wanadoo.fr", "web.de", "yahoo.co.jp", "yahoo.co.uk", "yahoo.com", "yahoo.de", "yahoo.fr", "yandex.com",
    "yandex.ru", "ymail.com", "ziggo.nl", "zoho.com",
})  # fmt: skip


@cache
def _extractor() -> TLDExtract:
    from tldextract import TLDExtract

    return TLDExtract(
        cache_dir=None, suffix_list_urls=(), include_psl_private_domains=False
    )  # the list that the package ships; no download


@lru_cache(maxsize=100_000)
def registrable_domain(text: str) -> str | None:
    """The domain that a company registers (`shop.acme.co.uk` -> `acme.co.uk`), lower case, from a domain, URL or e-mail address.

    None when there is none in the text, when it is an IP address, and when it is a public mail provider's.
    """
    host = _host(text)
    if not host or _is_address(host):
        return None
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    if not re.fullmatch(r"[a-z0-9.-]+", host):
        return None
    found = _extractor()(host).top_domain_under_public_suffix.lower()
    return found if found and found not in PUBLIC_MAIL_DOMAINS else None


def _host(text: str) -> str:
    cleaned = text.strip().lower()
    if "//" not in cleaned:
        cleaned = f"//{cleaned}"
    try:
        return (urlsplit(cleaned).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
