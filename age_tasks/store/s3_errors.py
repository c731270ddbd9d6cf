"""What went wrong with a bucket, in one line: the cause and a cure that fits it.

All answers and errors of S3 become messages here, by HTTP status, error code and request. Texts of a server or of a
library are shown on one line, shortened, and without credentials or signatures.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from age_tasks.errors import (
    AccessDeniedError,
    AgeTasksError,
    NotFoundError,
    SettingsError,
    StoreError,
    StoreRefusedError,
    without_user,
)
from age_tasks.store.base import RESTORE

ENDPOINT, KEY_ID, SECRET = "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
REGION, CONFIG_FILE, CA_BUNDLE = "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE"
SECRETS = (KEY_ID, SECRET, "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
CORRUPTED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
PATH_STYLE_REFUSED = {"SecondLevelDomainForbidden", "PathStyleDomainForbidden", "InvalidPathAccess"}
LATER = "run it again later"
PERMISSIONS = "check the AWS keys and their permissions (read, write, delete, and s3:ListBucket)"
ADDRESS = f"set {ENDPOINT} to the address of the S3 interface, such as http://host:9000"
NETWORK = f"check {ENDPOINT}, the bucket name and the network"
SHOWN_CHARACTERS = 200

_SECRET_FIELD = re.compile(
    r"(?i)((?:x-amz-)?(?:signature|credential|security-token|access-?key(?:-?id)?|secret\w*)|authorization)"
    r"(['\"]?\s*[=:]\s*)(?:AWS4-HMAC-SHA256\s+)?[^\s,;&<>]+"
)
_QUERY = re.compile(r"(?<=://)([^\s?\"'<>]*)\?[^\s\"'<>]*")
_CODE = re.compile(r"[A-Za-z][\w.:-]{0,63}")
_REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def _one_of(*values: str) -> tuple[re.Pattern[str], str]:
    """A pattern of these values in any case, and the values in words."""
    return re.compile("|".join(values), re.IGNORECASE), " or ".join([", ".join(values[:-1]), values[-1]])


_TRUE_OR_FALSE = _one_of("true", "false")
_ATTEMPTS = re.compile("[1-9][0-9]{0,8}"), "a number from 1 on"
_CHECKSUMS = _one_of("when_required", "when_supported")
_ENDPOINTS = re.compile("regional|legacy"), "regional or legacy, in small letters"
# What botocore ignores where it does not understand it, or refuses without a variable's name: a true that is written
# 1 or yes counts as false.
_VALUES = {
    "AWS_RETRY_MODE": _one_of("legacy", "standard", "adaptive"),
    "AWS_MAX_ATTEMPTS": _ATTEMPTS,
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": _ATTEMPTS,
    "AWS_METADATA_SERVICE_TIMEOUT": (_ATTEMPTS[0], "a number of seconds from 1 on"),
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": (re.compile("[0-9]{1,8}"), "a number of bytes"),
    "AWS_REQUEST_CHECKSUM_CALCULATION": _CHECKSUMS,
    "AWS_RESPONSE_CHECKSUM_VALIDATION": _CHECKSUMS,
    "AWS_STS_REGIONAL_ENDPOINTS": _ENDPOINTS,
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": _ENDPOINTS,
    "AWS_DEFAULTS_MODE": _one_of("legacy", "auto", "standard", "in-region", "cross-region", "mobile"),
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": _one_of("preferred", "disabled", "required"),
    "AWS_DISABLE_REQUEST_COMPRESSION": _TRUE_OR_FALSE,
    "AWS_EC2_METADATA_DISABLED": _TRUE_OR_FALSE,
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": _TRUE_OR_FALSE,
    "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH": _TRUE_OR_FALSE,
    "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS": _TRUE_OR_FALSE,
    "AWS_S3_USE_ARN_REGION": _TRUE_OR_FALSE,
    "AWS_USE_DUALSTACK_ENDPOINT": _TRUE_OR_FALSE,
    "AWS_USE_FIPS_ENDPOINT": _TRUE_OR_FALSE,
}
_FILES = (CONFIG_FILE, "AWS_SHARED_CREDENTIALS_FILE")
_NOT_BLANK = (*_VALUES, *_FILES, *SECRETS, ENDPOINT, "AWS_ENDPOINT_URL_S3", REGION, CA_BUNDLE, "AWS_PROFILE")


class NotS3Error(Exception):
    """A server answered a request without an error, but not as S3 does."""


class CorruptedError(Exception):
    """The bytes that arrived are not those of the object."""


class LocalFileError(Exception):
    """An error of the local file that an object is copied to; `error` is to be raised in its place."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Request(NamedTuple):
    """What was asked: which object, of whom, how."""

    where: str  # the address of the object or folder
    bucket: str
    method: str  # of HTTP
    attempts: int
    region: str
    endpoint: str
    size: int | None = None  # bytes that were sent
    secrets: tuple[str, ...] = ()


class Failure(NamedTuple):
    """Why a request failed, for people and for the caller."""

    what: str
    cure: str
    passes: bool = False  # the same request may succeed later
    kind: type[AgeTasksError] = StoreRefusedError

    def error(self, request: Request) -> AgeTasksError:
        """The error to raise."""
        kind = StoreError if self.passes else self.kind
        return kind(f"{request.where}: {self.what}; {self.cure}")


def explain(error: Exception, request: Request) -> Failure:
    """What an error of boto3, or one of this module, means.

    The code `NoSuchKey` gives the kind `NotFoundError`.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        if error_code(error) == "NoSuchBucket":
            return no_bucket(request)
        what, cure, passes, kind = _answer(error, request)
    elif isinstance(error, CorruptedError):
        what = f"its content was corrupted in transit in {request.attempts} reads"
        what, cure, passes, kind = Failure(what, "check the network and any proxy, or upload the object again", True)
    elif isinstance(error, NotS3Error):
        what, cure, passes, kind = Failure(f"{error}: this is not an answer of S3", ADDRESS)
    elif failure := _configuration(error, request):
        return failure
    else:
        what, cure, passes, kind = _connection(error, request)
    if request.endpoint:
        what = f"{what} at {shown(request.endpoint, request.secrets)}"
    return Failure(what, cure, passes, kind)


def no_bucket(request: Request) -> Failure:
    """The bucket is missing."""
    return Failure(
        f"there is no bucket '{request.bucket}'",
        "create it or correct AGE_STORE, AGE_LABELS or AGE_IMAGES, whichever names it "
        f"(asked: {shown(request.endpoint, request.secrets)})",
    )


def told_region(error: Exception) -> str:
    """The region that the server says the bucket is in; empty if it says none."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    region = _headers(response).get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or ""
    return region if isinstance(region, str) and _REGION.fullmatch(region) else ""


def is_page(headers: Mapping[str, str]) -> bool:
    """Whether an answer is a web page of another server: S3 marks its answers."""
    names = {name.lower(): value for name, value in headers.items()}
    return "html" in names.get("content-type", "").lower() and not any(name.startswith("x-amz-") for name in names)


def error_code(error: Exception) -> str:
    """The code of an error of S3; the HTTP status where the answer has none, as that to a HEAD."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else str(http_status(error) or "")


def http_status(error: Exception) -> int:
    """The status of the answer; 0 if there was none."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def shown(text: object, secrets: Iterable[str] = ()) -> str:
    """A foreign text for a message: one line, not long, without users, passwords, keys, signatures and queries."""
    line = str(text)
    for secret in {*secrets, *(os.environ.get(name, "") for name in SECRETS)}:
        if len(secret) >= 4:
            line = line.replace(secret, "***").replace(repr(secret)[1:-1], "***")
    line = _SECRET_FIELD.sub(r"\1\2***", _QUERY.sub(r"\1", without_user(line)))
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in line).split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"


def _refusals(request: Request) -> dict[str, Failure]:
    """Error code of S3 → what happened, and what to do."""
    region, bucket, attempts = request.region or "none", request.bucket, request.attempts
    denied = Failure("access denied", PERMISSIONS, kind=AccessDeniedError)
    expired = Failure("the AWS credentials have expired or are no longer valid", "get new ones and set them")
    busy = Failure(f"the server failed or was too busy in {attempts} attempts", LATER, passes=True)
    corrupted = Failure(f"the data was corrupted in transit in {attempts} attempts", "check the network", passes=True)
    elsewhere = Failure(f"the bucket is not in the region {region}", f"set {REGION} to the bucket's region")
    quota = Failure("a quota of the bucket or account is used up", "raise the quota, or free space with prune --delete")
    full = Failure("the server has no space left", "free space with prune --delete, or enlarge the server's storage")
    large = Failure(f"the server does not accept an object of {_size(request)}", "raise its limit for one object")
    style = Failure(
        "the server wants the bucket in the host name",
        f"set addressing_style = virtual under 's3 =' in {CONFIG_FILE}, and {ENDPOINT} to its address for that",
    )
    clock = Failure("this machine's clock and the server's are too far apart", "correct the clock")
    checksums = Failure("the server refuses the request's checksum", "update the server, or use another")
    unknown_key = Failure(
        "access denied: the server does not know the access key", f"check the AWS keys ({KEY_ID}) and {ENDPOINT}"
    )
    signature = Failure(
        "access denied: the signature does not match",
        f"check the AWS keys ({SECRET}), {REGION}, and that no proxy changes requests",
    )
    replaced = Failure("the object was replaced while it was read", "run it again")
    archived = Failure("the object is archived", "restore it with the storage provider's tools")
    key = Failure("the server can't use the bucket's encryption key", "check the key and the permission to use it")
    unable = Failure(
        f"the server does not support this request ({request.method})", f"{ADDRESS}, or use another S3 server"
    )
    account = Failure("the storage account is suspended or not active", "clear this up with the storage provider")
    return {
        **dict.fromkeys(("AccessDenied", "Forbidden", "AllAccessDisabled", "Unauthorized"), denied),
        **dict.fromkeys(("InvalidAccessKeyId", "InvalidAccessKeyID", "NoSuchAccessKey"), unknown_key),
        "SignatureDoesNotMatch": signature,
        **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"), expired),
        **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired", "RequestNotValidYet", "InvalidDate"), clock),
        **dict.fromkeys(
            (
                "InternalError", "InternalFailure", "ServiceUnavailable", "ServiceFailure", "SlowDown", "SlowDownRead",
                "SlowDownWrite", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests",
                "RequestLimitExceeded", "BandwidthLimitExceeded", "RequestTimeout", "RequestTimeoutException",
                "OperationAborted", "OperationTimedOut", "Busy", "XMinioServerNotInitialized",
                "XMinioReadQuorum", "XMinioWriteQuorum", "XMinioBackendDown",
            ),
            busy,
        ),
        **dict.fromkeys(CORRUPTED, corrupted),
        **dict.fromkeys(
            (
                "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException",
                "InvalidRegion", "InvalidLocationConstraint", "IncorrectEndpoint",
            ),
            elsewhere,
        ),
        **dict.fromkeys(
            (
                "QuotaExceeded", "BucketQuotaExceeded", "XMinioAdminBucketQuotaExceeded", "UserQuotaExceeded",
                "StorageQuotaExceeded", "LimitExceeded", "AccountQuotaExceeded", "QuotaExceededException",
                "storage_cap_exceeded", "download_cap_exceeded", "transaction_cap_exceeded", "TooManyObjects",
                "XMinioQuotaExceeded", "ServiceQuotaExceededException",
            ),
            quota,
        ),
        **dict.fromkeys(("InsufficientStorage", "XMinioStorageFull", "StorageFull", "507"), full),
        **dict.fromkeys(("EntityTooLarge", "413", "MaxMessageLengthExceeded", "RequestEntityTooLarge"), large),
        **dict.fromkeys(PATH_STYLE_REFUSED, style),
        "InvalidBucketName": Failure(
            f"'{bucket}' is not a valid bucket name", "correct AGE_STORE, AGE_LABELS or AGE_IMAGES, whichever names it"
        ),
        **dict.fromkeys(("KeyTooLongError", "KeyTooLong", "XMinioInvalidObjectName"), Failure(
            "the server does not accept the object's name", "shorten the prefix in the address, or rename the file"
        )),
        **dict.fromkeys(("InvalidObjectState", "ObjectRestoreAlreadyInProgress"), archived),
        **dict.fromkeys(("KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"), key),
        **dict.fromkeys(("NotImplemented", "MethodNotAllowed", "405", "501", "505"), unable),
        **dict.fromkeys(("UserSuspended", "AccountProblem", "NotSignedUp", "UserDisabled"), account),
        **dict.fromkeys(("ObjectLocked", "InvalidRetentionPeriod"), Failure(
            "the bucket keeps its objects unchanged (object lock)", "use a bucket without object lock"
        )),
        **dict.fromkeys(("UnsupportedHeader", "InvalidChecksum"), checksums),
        **dict.fromkeys(("PreconditionFailed", "InvalidRange"), replaced),
    }  # fmt: skip


def _answer(error: Exception, request: Request) -> Failure:
    """An answer with an error: by its code, else by its status and what kind of page it is."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    status, code, message = http_status(error), error_code(error), response.get("Error", {}).get("Message")
    said = message if isinstance(message, str) else ""  # an element with others inside is a mapping
    own_code = bool(code) and code != str(status)  # the answer was a document of S3
    nothing = status == 404 and not own_code and request.method != "PUT" and not is_page(_headers(response))
    if nothing or code in {"NoSuchKey", "NotFound"}:
        return Failure("not found", RESTORE, kind=NotFoundError)
    if 300 <= status < 400:
        return _redirect(error, status, code if own_code else "", request)
    refusals = _refusals(request)
    if "Unsupported header" in said or "x-amz-sdk-checksum" in said.lower():
        code_failure: Failure | None = refusals["UnsupportedHeader"]
    else:
        code_failure = _by_message(code, said, refusals) or refusals.get(code)
    if code_failure:
        named = code if own_code else f"HTTP {status}"
        return code_failure._replace(what=f"{code_failure.what} ({named})")
    if own_code:
        passes = status >= 500 or status in {408, 425, 429}
        says = f": {shown(said, request.secrets)}" if said else ""
        cure = LATER if passes else "correct what it names"
        what = f"the server failed in {request.attempts} attempts" if passes else "the request was refused"
        return Failure(f"{what} ({code}, HTTP {status}{says})", cure, passes)
    return _status(status, response, request)


def _by_message(code: str, said: str, refusals: Mapping[str, Failure]) -> Failure | None:
    """A cause that several servers tell in the text only, with a general code."""
    text = said.lower()
    if code in {"AccessDenied", "Forbidden", "InvalidRequest", "EntityTooLarge", "InvalidArgument"}:
        if "quota" in text or "cap exceeded" in text or "storage limit" in text:
            return refusals["QuotaExceeded"]
        if "expired" in text:
            return refusals["RequestExpired"] if "request has expired" in text else refusals["ExpiredToken"]
        if "worm" in text or "object lock" in text:
            return refusals["ObjectLocked"]
        if "virtual" in text and "style" in text:
            return refusals["SecondLevelDomainForbidden"]
    return None


def _status(status: int, response: Mapping[str, Any], request: Request) -> Failure:
    """An answer without a document of S3: of a proxy, of another server, or to a HEAD."""
    page, head = is_page(_headers(response)), request.method == "HEAD"
    named = f"HTTP {status}{', a web page' if page else ''}"
    if status in {408, 425, 429} or status >= 500:
        return Failure(
            f"the server failed or was too busy in {request.attempts} attempts ({named})", LATER, passes=True
        )
    if status == 400 and head and not page:
        return Failure(
            f"the request was refused ({named})", f"check that the AWS credentials have not expired, and {REGION}"
        )
    if status == 400:
        return Failure(
            f"the request was refused ({named})",
            f"check that {ENDPOINT} begins with https:// if the server expects that, and names the S3 interface",
        )
    if status == 403 and head and not page:
        return Failure(
            f"access denied ({named})",
            "check the AWS keys, their expiry and permissions (also s3:ListBucket), and this machine's clock",
            kind=AccessDeniedError,
        )
    if status in {401, 403}:
        return Failure(
            f"a server or proxy that is not S3 denied access ({named})",
            f"check {ENDPOINT}, and that proxies and firewalls let this machine through",
        )
    if status == 407:
        return Failure(f"the proxy wants a user and password ({named})", "correct HTTPS_PROXY, or set NO_PROXY")
    if status in {404, 410}:
        return Failure(f"the server has no S3 interface under this address ({named})", ADDRESS)
    if status in {414, 431}:
        return Failure(
            f"the server or a proxy does not accept a request this long ({named})",
            "shorten the prefix in the address, or raise the limit of the proxy",
        )
    if status == 411:
        return Failure(f"the server wants the length of the content ({named})", "check proxies that change requests")
    return Failure(f"the answer is not one of S3 ({named})", ADDRESS)


def _redirect(error: Exception, status: int, code: str, request: Request) -> Failure:
    """An answer that sends the caller elsewhere. It is not followed: the signature would be wrong there."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    region, named = told_region(error), f"{code}, HTTP {status}" if code else f"HTTP {status}"
    if region and region != request.region:
        return Failure(f"the bucket is in the region {region} ({named})", f"set {REGION}={region}")
    target = _headers(response).get("location") or ""
    if not target and isinstance(endpoint := response.get("Error", {}).get("Endpoint"), str) and endpoint:
        target = f"{urlsplit(request.endpoint).scheme or 'https'}://{endpoint}"
    if not target:
        return Failure(f"the server redirects, and does not say where to ({named})", f"check {ENDPOINT} and {REGION}")
    origin = _origin(target)
    to = f"the server redirects to {shown(target, request.secrets)} ({named})"
    if not origin:
        return Failure(to, ADDRESS)
    if origin == _origin(request.endpoint):
        return Failure(f"{to}: to itself", f"check {ENDPOINT}, and the proxy before the server")
    host = urlsplit(origin).hostname or ""
    if host.startswith(f"{request.bucket}."):
        origin = origin.replace(f"//{request.bucket}.", "//", 1)
    return Failure(to, f"if that is the S3 server, set {ENDPOINT}={shown(origin)}")


def _connection(error: Exception, request: Request) -> Failure:
    """No answer, or none that can be read."""
    from botocore.exceptions import (
        BotoCoreError,
        ConnectionError,
        FlexibleChecksumError,
        HTTPClientError,
        IncompleteReadError,
        ProxyConnectionError,
        SSLError,
    )
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    cause = shown(error, request.secrets) or type(error).__name__
    if isinstance(error, SSLError):
        if "WRONG_VERSION_NUMBER" in str(error) or "record layer failure" in str(error):
            return Failure(f"the server does not speak TLS ({_reason(cause)})", f"write http:// in {ENDPOINT}")
        cure = f"set {CA_BUNDLE} to the file with the certificate of its authority (PEM)"
        if "match" in cause:
            cure = f"write the name that the certificate is for in {ENDPOINT}"
        elif "expired" in cause or "not yet valid" in cause:
            cure = "renew it, or correct this machine's clock"
        if "CERTIFICATE_VERIFY_FAILED" in str(error) or "match" in cause:
            return Failure(f"the server's certificate is not accepted ({_reason(cause)})", cure)
        return Failure(f"{cause} (in {request.attempts} attempts)", NETWORK, passes=True)
    if "Failed to parse" in cause:  # by urllib3, of an address that botocore did not check
        return Failure(f"an address can't be read ({_reason(cause)})", "correct HTTP_PROXY and HTTPS_PROXY")
    if isinstance(error, ProxyConnectionError):
        return Failure(cause, f"check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or {LATER}", passes=True)
    if isinstance(error, ResponseParserError):
        return Failure("the server answers with something that is not S3's (not the expected XML)", ADDRESS)
    passing = HTTPClientError | ConnectionError | IncompleteReadError | FlexibleChecksumError | HTTPError | OSError
    if isinstance(error, passing):
        return Failure(f"{cause} (in {request.attempts} attempts)", NETWORK, passes=True)
    kind = type(error).__name__ if isinstance(error, BotoCoreError) else f"{type(error).__name__} in the client"
    return Failure(f"{cause} ({kind})", f"check {ENDPOINT}, the bucket name and the AWS_ variables")


def _configuration(error: Exception, request: Request) -> Failure | None:
    """What is wrong with the client's settings; None if the error is not about them."""
    from botocore import exceptions as given

    cause = shown(error, request.secrets) or type(error).__name__
    files = f"{os.environ.get(CONFIG_FILE) or '~/.aws/config'}"
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or ""

    def wrong(what: str, cure: str) -> Failure:
        return Failure(what, cure, kind=SettingsError)

    if isinstance(error, given.NoCredentialsError | given.PartialCredentialsError):
        return Failure("no credentials", f"set {KEY_ID} and {SECRET}")
    if isinstance(error, given.NoRegionError):
        return Failure("no region", f"set {REGION}")
    if isinstance(error, given.ProfileNotFound):
        return wrong(
            f"AWS_PROFILE={profile!r}: there is no such profile in {shown(files)}", "correct or unset AWS_PROFILE"
        )
    if isinstance(error, given.ConfigParseError | given.ConfigNotFound | UnicodeDecodeError):
        return wrong(
            f"the configuration file of AWS can't be read ({cause})",
            f"correct it; {CONFIG_FILE} and AWS_SHARED_CREDENTIALS_FILE name other files",
        )
    if isinstance(error, given.InvalidRegionError):
        return wrong(f"{REGION}={request.region!r} is not the name of a region", "write it as us-east-1")
    if isinstance(error, given.ParamValidationError):
        return wrong(
            f"'{request.bucket}' is not a valid name of a bucket, or the object's name is too long",
            "correct AGE_STORE, AGE_LABELS or AGE_IMAGES, whichever names it",
        )
    if isinstance(error, given.CredentialRetrievalError | given.MetadataRetrievalError):
        return Failure(
            f"the AWS credentials can't be fetched ({cause})", f"check their source, or {LATER}", passes=True
        )
    if "token" in type(error).__name__.lower() or "sso" in type(error).__name__.lower():
        return wrong(f"the AWS sign-in is missing or has expired ({cause})", "sign in again with aws sso login")
    if isinstance(error, given.InvalidProxiesConfigError):
        return wrong(f"the proxy settings are invalid ({cause})", "correct HTTPS_PROXY and HTTP_PROXY")
    about_settings = isinstance(error, given.BotoCoreError) and not isinstance(
        error, given.HTTPClientError | given.ConnectionError | given.IncompleteReadError | given.FlexibleChecksumError
    )
    in_file = isinstance(error, OSError) and error.filename
    if about_settings or in_file or (not request.endpoint and not isinstance(error, given.BotoCoreError)):
        guilty = _variable_of(str(error)) or f"the AWS_ variables or {shown(files)}"
        return wrong(f"the AWS settings are invalid ({type(error).__name__}: {cause})", f"correct {guilty}")
    return None


def _variable_of(text: str) -> str:
    """The AWS variable whose value, or the host in it, an error's text contains."""
    for name, value in sorted(os.environ.items()):
        if name.startswith("AWS_") and name in text:
            return name
        if name.startswith("AWS_") and name not in SECRETS and value not in {"true", "false"} and len(value) > 1:
            host = _origin(value).partition("://")[2].partition(":")[0]
            if value in text or (host and host in text):
                return name
    return ""


def check_settings(session: Any, where: str) -> tuple[str, ...]:
    """Refuse what boto3 would fail on later, with a text that shows a secret or names no variable.

    Args:
        session: botocore's.
        where: what is to be read, for the message.

    Returns:
        The keys and tokens, which no message may show.

    Raises:
        SettingsError: names the variable, not the value of a secret.
    """
    import ssl

    _check_variables(where)
    for name in ("AWS_ENDPOINT_URL_S3", ENDPOINT):
        if (url := os.environ.get(name)) and not _origin(url):
            raise SettingsError(f"{where}: {name}={shown(url)!r} is not an address; set {name} to http://host:port")
        if url:
            break
    region = session.get_config_variable("region")
    if region and not _REGION.fullmatch(region):
        named = (
            REGION if os.environ.get(REGION) else f"region in {shown(os.environ.get(CONFIG_FILE) or '~/.aws/config')}"
        )
        raise SettingsError(
            f"{where}: {named}={shown(region)!r} is not the name of a region; write it without blanks, as us-east-1"
        )
    bundle = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle:
        name = CA_BUNDLE if session.get_config_variable("ca_bundle") else "REQUESTS_CA_BUNDLE"
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(**{"capath" if Path(bundle).is_dir() else "cafile": bundle})
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            reason = "it has no certificates in PEM form" if isinstance(error, ssl.SSLError) else _system_reason(error)
            raise SettingsError(
                f"{where}: {name}={shown(bundle)!r} can't be used: {reason}; correct or unset {name}"
            ) from None
    credentials = session.get_credentials()
    if credentials is None or type(credentials).__name__ != "Credentials":  # others are fetched when they are needed
        return ()
    from_variables = credentials.method == "env"
    values = {KEY_ID: credentials.access_key, SECRET: credentials.secret_key, "AWS_SESSION_TOKEN": credentials.token}
    for name, value in values.items():
        problem = _problem(value or "", blanks=name == SECRET)
        if problem:
            named = name if from_variables else f"{name.removeprefix('AWS_').lower()} in the AWS configuration file"
            raise SettingsError(f"{where}: {named} contains {problem}; set it without (the value is not shown)")
    return tuple(value for value in values.values() if value)


def _check_variables(where: str) -> None:
    """Refuse values of the client's variables that it does not know.

    Raises:
        SettingsError: names the variable and what is allowed.
    """
    given = {name: value for name, value in os.environ.items() if name.startswith("AWS_") and value}
    for name in _NOT_BLANK:
        if name in given and not given[name].strip():
            raise SettingsError(f"{where}: {name} holds nothing but blanks; give it a value, or unset it")
    for name, (allowed, words) in _VALUES.items():
        if name in given and not allowed.fullmatch(given[name]):
            raise SettingsError(f"{where}: {name}={shown(given[name])!r} is invalid; set it to {words}, or unset it")
    for name in _FILES:
        if name in given and not _is_there(given[name]):
            raise SettingsError(
                f"{where}: {name}={shown(given[name])!r}: there is no such file; correct or unset {name}"
            )


def _is_there(file: str) -> bool:
    try:
        return Path(file).expanduser().exists()
    except (OSError, RuntimeError):  # no permission, a name that is too long; no such user
        return False


def _problem(value: str, *, blanks: bool) -> str:
    """What in a key or token can't be sent in an HTTP header."""
    if "\n" in value or "\r" in value:
        return "a line break"
    if not value.isprintable():
        return "a control character"
    if value != value.strip() or (" " in value and not blanks):
        return "a blank"
    return "" if value.isascii() or blanks else "a character that is not ASCII"


def _system_reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _headers(response: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
    return headers


def _origin(url: str) -> str:
    """Scheme, host and port of an address; empty if it is none of HTTP."""
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _reason(cause: str) -> str:
    """The end of an error of TLS: what is in its last brackets or after its last colon."""
    return cause.rpartition(": ")[2].removesuffix(")")


def _size(request: Request) -> str:
    return f"{request.size / 1e6:.1f} MB" if request.size is not None else "this size"
