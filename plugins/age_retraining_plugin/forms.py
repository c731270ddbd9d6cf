"""Forms on the pages of the plugin: who may send one, and that nobody sends one in another's name.

The login is a cookie, which a browser also sends with a form that another site has prepared. So a form carries a token
that only our page could give to this person, and a request that the browser marks as another site's is refused.
"""

from urllib.parse import parse_qs

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from fastapi import HTTPException, Request
from itsdangerous import BadData, URLSafeTimedSerializer

LONGEST = 8192  # bytes of a form
VALID_SECONDS = 24 * 60 * 60
OUT_OF_DATE = "This form is out of date. Open the page again, and repeat what you did."


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; the first value of each.

    Raises:
        HTTPException: it is too long, or no form.
    """
    body = await request.body()
    if len(body) > LONGEST:
        raise HTTPException(413, "This form is too long.")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True)
    except ValueError:
        raise HTTPException(400, OUT_OF_DATE) from None
    return {name: values[0] for name, values in fields.items()}


def token_for(user: BaseUser) -> str:
    """What the forms on a page of this person send along."""
    return _serializer().dumps(user.get_id())


def require_own_form(request: Request, form: dict[str, str], user: BaseUser) -> None:
    """Refuse a form that does not come from a page that this person has opened within a day.

    Raises:
        HTTPException: 400, with what to do.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise HTTPException(400, OUT_OF_DATE)
    try:
        owner = _serializer().loads(form.get("token", ""), max_age=VALID_SECONDS)
    except BadData:
        owner = None
    if owner != user.get_id():
        raise HTTPException(400, OUT_OF_DATE)


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="age-forms")
