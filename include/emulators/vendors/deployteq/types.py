"""The types of Deployteq's SOAP API, version 1.24: their elements in the order of the vendor's WSDL, and the longest values."""

from __future__ import annotations

NAMESPACE = "https://secure.myclang.com/app/api/soap/public/index.php"


def _texts(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), "string")


TYPES = {
    "Account": _texts("network accountId"),
    "CustomerOption": {"identifier": "string", "customerId": "long", "name": "string", "value": "string"},
    "Customer": {
        "complaintCount": "long", "accounts": "ArrayOfAccount", "smsOptIn": "string", "optIn": "string", "id": "long",
        **_texts(
            "title lastname firstname middlename prefix suffix initials gender maritalStatus birthday birthplace"
            " address address2 address3 addressNumber addressNumberSuffix zipCode poBox city state country companyName department"
            " alternateAddress alternateAddress2 alternateAddress3 alternateAddressNumber alternateAddressNumberSuffix alternateZipCode"
            " alternateCity alternateState alternateCountry contactMan jobTitle workPhone workExtension workMobile homePhone mobilePhone"
            " faxNumber emailAddress alternateEmailAddress emailType mailStatus"
        ),
        "softBounceCount": "long", "hardBounceCount": "long",
        **_texts("website imageUrl status externalId userName password createdBy createdAt modifiedBy modifiedAt"),
        "options": "ArrayOfCustomerOption",
    },
    "MailingLink": {
        "mailingId": "long", "id": "long", "url": "string", "description": "string", "track": "boolean", "source": "boolean",
        "tags": "ArrayOfTag",
        **_texts(
            "google_source google_medium google_term google_content google_campaign"
            " sitestat_campaign sitestat_source sitestat_mchannel sitestat_linkname sitestat_fee"
        ),
    },
    "Tag": {"id": "long", "name": "string", "weight": "long"},
    "Mailing": {
        "plannedFor": "string", "uniqueClicks": "long", "uniqueOpens": "long", "received": "long", "campaignId": "long",
        "campaignName": "string", "id": "long", "contentName": "string", "sourceType": "string", "sourceName": "string",
        "customers": "long", "throttle": "long", "status": "string", "links": "ArrayOfMailingLink", "type": "string",
        "description": "string", "startedAt": "string", "endedAt": "string", "bounces": "long", "opens": "long", "clicks": "long",
        "complaints": "long",
    },
    "BrowserInformation": _texts(
        "name version platform country httpAcceptCharset httpAcceptLanguage httpAcceptEncoding httpAccept httpUserAgent"
    ),
    "Open": {
        "id": "long", "customerId": "long", "mailingId": "long", "openedAt": "string", "browserInformation": "BrowserInformation",
    },
    "Click": {
        "link": "MailingLink", "id": "long", "customerId": "long", "mailingId": "long", "clickedAt": "string",
        "browserInformation": "BrowserInformation",
    },
    "Bounce": {
        "id": "long", "customerId": "long", "mailingId": "long", "bouncedAt": "string", "rule": "string", "category": "string",
    },
    "Complaint": {"feedbackloop": "string", "id": "long", "customerId": "long", "mailingId": "long", "complaintAt": "string"},
    "Delivery": {
        "id": "string", "status": "string", "customer": "Customer", "mailingId": "long",
        **_texts("deliveryDate firstOpenDate lastOpenDate firstClickDate lastClickDate"),
        "opens": "ArrayOfOpen", "clicks": "ArrayOfClick", "bounce": "Bounce", "complaint": "Complaint",
    },
    "Group": {
        "id": "long", "parentId": "long", **_texts("name description createdBy createdAt modifiedBy modifiedAt countDate"),
        "customerCountRecursive": "long", "customerCount": "long",
    },
    "GroupMembership": {"groupId": "long", "customerId": "long", "isMember": "boolean", "startedAt": "string"},
    "Resource": {"id": "long", "type": "string", "status": "string", "size": "long"},
}  # fmt: skip

# Characters, as tests against the live service have them; the others are not known.
LONGEST = {
    **dict.fromkeys(("homePhone", "mobilePhone", "workPhone", "workMobile", "faxNumber", "prefix", "suffix"), 16),
    **dict.fromkeys(("address", "address2", "address3", "city", "country"), 70),
    "jobTitle": 60, "companyName": 120, "zipCode": 20, "state": 60, "firstname": 40, "lastname": 100, "emailAddress": 80, "externalId": 100,
    "department": 30, "poBox": 11, "website": 255, "initials": 20,
}  # fmt: skip
