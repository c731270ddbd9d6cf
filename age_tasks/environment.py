"""Every environment variable of the project: typed, bounded, with a default and a help text.

No other module reads an `AGE_*` variable from the environment. A module reads the group that it needs, so that a wrong
variable stops only what uses it:

    Locations.from_env().store

Blanks around a value are ignored, and an empty variable is as good as none. Airflow, pandas and TensorFlow are not
imported here: everything imports this module.
"""

import getpass
import os
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from age_tasks import __version__, resources
from age_tasks.errors import SettingsError
from age_tasks.resources import PACKAGE
from age_tasks.store.addresses import check_address, local_path
from age_tasks.store.base import from_json

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = 500
PROJECT = PACKAGE.parent  # the checkout, or site-packages: nothing is written there


def working_folder() -> Path:
    """Where relative paths of Airflow's tasks start: the checkout, or the current folder of an installed package."""
    return Path.cwd() if resources.INSTALLED else PROJECT


def _address(text: str) -> str:
    try:
        return check_address(text)
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        given = from_json(value)
    except ValueError as error:
        raise ValueError(f'AGE_SET is not JSON ({error}); write {{"finetune.epochs": 3}}') from None
    if not isinstance(given, dict):
        raise ValueError('AGE_SET must be a JSON object such as {"finetune.epochs": 3}')
    return given


def _folder(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        if "://" in text and not text.lower().startswith("file://"):
            raise SettingsError(f"{text!r} is no folder of this machine; write its path")
        # A folder may be called `a:b`, which looks like an address.
        return local_path(text if text.lower().startswith("file://") or text.startswith(("/", "~")) else f"./{text}")
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _plain_number(value: object) -> object:
    """Refuse texts that only some programs take for a number: 1_0, digits of other scripts, true."""
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        raise PydanticCustomError("number", "a number such as 12 or 0.5")
    return value


Address = Annotated[str, AfterValidator(_address)]  # without a user and password
JsonObject = Annotated[dict[str, object], BeforeValidator(_json_object)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Number = Annotated[float, BeforeValidator(_plain_number)]
WholeNumber = Annotated[int, BeforeValidator(_plain_number)]

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$|^$"
_BYTES = r"^[1-9][0-9]{0,14}[gm]$|^$"
_PAIRS = r"^[!-+.-<>-~-]+=[!-+.-<>-~-]+(,[!-+.-<>-~-]+=[!-+.-<>-~-]+)*$|^$"  # printable ASCII but = and ,
_PINNED_IMAGE = r"^[!-~]+(:(?!latest$)[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})$"
_SOMEONE = r"[^@\s,\x00-\x1f\x7f-\x9f]+@[^@\s,\x00-\x1f\x7f-\x9f]+"
_ADDRESSES = rf"^{_SOMEONE}(,{_SOMEONE})*$|^$"
# What notices are sent about.
EVENTS = (
    "labels_refused",
    "failed",
    "late",
    "approval_waiting",
    "promoted",
    "gate_refused",
    "rejected",
    "rolled_back",
    "worse_in_use",
)
_ROUTE = f"(email|apprise):(all|({'|'.join(EVENTS)})(,({'|'.join(EVENTS)}))*)"
_ROUTES = f"^{_ROUTE}( +{_ROUTE})*$|^$"
_DAY_SECONDS, _YEAR_HOURS = 86_400, 8_760
MOST_WORKERS = 256


def _variable(default: Any, description: str, expected: str = "", shown_default: str = "", **constraints: Any) -> Any:
    """A field of a group of variables.

    Args:
        description: the help text.
        expected: what the value may be, for errors; where it is empty, pydantic's own words are used.
        shown_default: the default for people, where it is computed.
        constraints: of `pydantic.Field`, such as `ge`.
    """
    facts: dict[str, JsonValue] = {"expected": expected, "shown_default": shown_default}
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=description, json_schema_extra=facts, **constraints)


def _store_variable() -> Any:
    return _variable(
        lambda: (resources.state_folder(".age") / "store").as_uri(),
        "where runs, reports and models are kept: a folder or s3://bucket/prefix",
        shown_default=".age/store in the checkout; of an installed package, in the user's data folder",
    )


class Variables(BaseSettings):
    """A group of variables: the field `trainer_image` is the variable `AGE_TRAINER_IMAGE`."""

    model_config = SettingsConfigDict(
        env_prefix="AGE_",
        enable_decoding=False,
        frozen=True,
        allow_inf_nan=False,
        regex_engine="python-re",  # the default one has no look-ahead
    )
    read_by: ClassVar[str]  # who reads the group, for the documentation

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The constructor takes what it is given; only `from_env` reads the environment."""
        return (init_settings,)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """The values in `env`, by default the environment of this process; defaults elsewhere.

        Raises:
            SettingsError: a line for each wrong variable: its name, its value and what would be valid.
        """
        source = EnvSettingsSource(cls)
        given = os.environ if env is None else env
        source.env_vars = {name.lower(): text for name, value in given.items() if (text := value.strip())}
        try:
            return cls(**source())
        except ValidationError as error:
            problems = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]
            raise SettingsError(*map(cls._explain, problems)) from None

    @classmethod
    def variable(cls, field: str) -> str:
        """The name of the environment variable that a field is read from."""
        return f"{cls.model_config['env_prefix']}{field}".upper()

    @classmethod
    def _explain(cls, problem: ErrorDetails) -> str:
        own_words = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else ""
        if not problem["loc"]:
            return own_words
        field = str(problem["loc"][0])
        name = cls.variable(field)
        if own_words:
            return own_words if own_words.startswith(name) else f"{name}: {own_words}"
        expected = _facts(cls.model_fields[field])["expected"] or problem["msg"]
        return f"{name}={_SHOWN.repr(problem['input'])} is invalid: expected {expected}"


class Locations(Variables):
    """Where labels, images, the store and the cache are.

    Each of labels, images and store is a path or an `s3://` address; the cache is a local folder.
    """

    read_by = "every command, Airflow's DAGs and pages"

    labels: Address = _variable(
        "",
        "the labels: a table (.csv, .xlsx, .parquet) with the columns file_name,real_age; a path or an s3:// address",
    )
    images: Address = _variable(
        lambda data: _beside(data["labels"], "images"),
        "the folder of the images, or the tar files that hold them, such as faces/*.tar; a path or an s3:// address",
        shown_default="images/ beside the labels",
    )
    store: Address = _store_variable()
    cache: Folder = _variable(
        lambda: resources.state_folder(".age") / "cache",
        "local cache of everything that can be recomputed: image metadata, features, checkpoints; a folder",
        shown_default=".age/cache beside the default store",
    )

    cache_remote: Address = _variable(
        "",
        "a store through which caches of several machines exchange features and what is known of images, and from "
        "which a training streams features that do not fit into its own cache; empty: none",
    )

    def require_labels(self) -> str:
        """The labels' address.

        Raises:
            SettingsError: `AGE_LABELS` is not set.
        """
        if not self.labels:
            raise SettingsError(
                "no labels given: set AGE_LABELS to a labels.csv (file_name,real_age), a path or an s3:// address; "
                "`python -m age_tasks sample --out faces` draws a set to try"
            )
        return self.labels


class CacheVariables(Variables):
    """How much the local cache may hold."""

    read_by = "every command that reads images on S3 or in tar files"

    image_copies_gb: Number = _variable(
        50.0,
        "disk for local copies of images on S3 or in tar files; beyond it the least recently used are removed, and "
        "fetched again when they are needed",
        "a number of gigabytes above 0",
        gt=0,
        le=1_000_000,
    )


class StageVariables(Variables):
    """How a stage is run; Airflow's tasks set these, and people may."""

    read_by = "stages and other commands; Airflow's tasks set it"

    run: str = _variable("", "the run to work in; empty: the newest run that has the inputs, or a new one")
    again: bool = _variable(
        False, "execute stages even if an earlier result could be reused", "true or false (also yes/no, on/off, 1/0)"
    )
    recipe: str = _variable(
        "", "the recipe: a name, or the path of a .yaml file; empty: that of the run, or reference for a new one"
    )
    set: JsonObject = _variable(dict, 'settings to replace, a JSON object such as {"finetune.epochs": 3}')
    who: str = _variable("", "who acts, for the promotion log; empty: the user of this machine")
    share: str = _variable(
        "",
        "the share of the images that `probe` and `features` work on, such as 2/4: the second of four; empty: all",
        "a share such as 2/4",
        pattern=r"^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$|^$",
    )
    summary_bytes: WholeNumber | None = _variable(
        None,
        "the most bytes of the summary that a command prints last, such as 3072: a longer one is packed, and shortened "
        "where even that is too long; empty: no limit",
        "a whole number of bytes from 1000 to 1000000",
        ge=1000,
        le=1_000_000,
    )
    approval: str = _variable(
        '{"asked": false}', "the answer of the person who was asked to approve the model, a JSON object"
    )


def acting_person() -> str:
    """The person who acts: `AGE_WHO`, which Airflow's tasks set, or the user of this machine."""
    try:
        return StageVariables.from_env().who or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"user {os.getuid()}"


class LogVariables(Variables):
    """What a line of the log begins with."""

    read_by = "every command; Airflow's tasks set it, since Airflow's log has times of its own"

    log_times: bool = _variable(
        True, "whether lines of the log begin with the time", "true or false (also yes/no, on/off, 1/0)"
    )


class WorkflowVariables(Variables):
    """When Airflow's DAGs start, and what their trigger forms offer."""

    read_by = "Airflow's DAGs"

    schedule: str = _variable(
        "0 3 * * 1", "when the retraining starts besides new labels: a cron expression (UTC), or none"
    )
    recipe: str = _variable("reference", "the recipe that the trigger form offers")
    labels_poll_seconds: Number = _variable(
        10,
        "seconds between two looks at the labels file",
        "a number of seconds from 1 to 86400",
        ge=1,
        le=_DAY_SECONDS,
    )
    settle_seconds: Number = _variable(
        15,
        "seconds without a change of the labels file before a run starts",
        "a number of seconds from 1 to 31536000",
        ge=1,
        le=365 * _DAY_SECONDS,
    )
    require_approval: bool = _variable(
        False,
        "whether a person must approve a model that passed the gate, in scheduled runs too",
        "true or false (also yes/no, on/off, 1/0)",
    )
    score_images: Address = _variable(
        "",
        "images that each new champion scores: a folder, tar files such as faces/*.tar, or a table with a column "
        "file_name; a path or s3:// address",
    )
    score_out: Address = _variable("", "the CSV file that these scores are written to: a path or an s3:// address")

    unlabelled: Address = _variable(
        "",
        "images without labels, which each new champion ranks by what to label next: a folder, tar files such as "
        "faces/*.tar, or a table with a column file_name; a path or s3:// address",
    )

    def require_unlabelled(self) -> str:
        """The address of the images without labels.

        Raises:
            SettingsError: `AGE_UNLABELLED` is not set.
        """
        if not self.unlabelled:
            raise SettingsError(
                "nothing to rank: set AGE_UNLABELLED to a folder or table of images without labels, a path or an s3:// "
                "address"
            )
        return self.unlabelled

    def require_scoring(self) -> "Scoring":
        """What to score, and where to.

        Raises:
            SettingsError: `AGE_SCORE_IMAGES` or `AGE_SCORE_OUT` is not set.
        """
        if not (self.score_images and self.score_out):
            raise SettingsError(
                "nothing to score: set AGE_SCORE_IMAGES to a folder or table of images, and AGE_SCORE_OUT to the CSV "
                "file to write, each a path or an s3:// address"
            )
        return Scoring(self.score_images, self.score_out)


class Scoring(NamedTuple):
    """The images to score and the CSV file of the scores: paths or `s3://` addresses."""

    images: str
    out: str


class NoticeVariables(Variables):
    """Who is told of what happens."""

    read_by = "Airflow's DAGs"

    notify_email: str = _variable(
        "",
        "who is told by e-mail; needs the Airflow connection smtp_default",
        "an e-mail address, or several with commas between them",
        pattern=_ADDRESSES,
    )
    notify: str = _variable(
        "",
        "which events are told where, such as `email:failed,late apprise:all`; without it all of them by e-mail. "
        f"Events: {', '.join(EVENTS)}. `apprise` needs the Airflow connection apprise_default",
        f"'email:' or 'apprise:' and 'all' or some of {', '.join(EVENTS)}, with commas between them and no blanks; "
        "such as 'email:failed,late apprise:all'",
        pattern=_ROUTES,
    )
    deadline_hours: Number | None = _variable(
        None,
        "hours after which a run is late, counted from when it was queued; needs somebody who is told of `late`",
        "a number of hours above 0, such as 12",
        gt=0,
        le=_YEAR_HOURS,
    )

    @model_validator(mode="after")
    def _someone_is_told(self) -> Self:
        if "email:" in self.notify and not self.notify_email:
            raise ValueError(f"AGE_NOTIFY = {self.notify!r} names email, but no address is known: set AGE_NOTIFY_EMAIL")
        if self.deadline_hours and not self.channels("late"):
            raise ValueError(
                "AGE_DEADLINE_HOURS is set, but nobody would be told: set AGE_NOTIFY_EMAIL too, or apprise:late in "
                "AGE_NOTIFY"
            )
        return self

    def channels(self, event: str) -> list[str]:
        """Where an event is told: `email`, `apprise`, or nowhere."""
        found = []
        for route in (self.notify or "email:all").split():
            channel, _, events = route.partition(":")
            if event in events.split(",") or events == "all":
                found.append(channel)
        return [channel for channel in dict.fromkeys(found) if channel != "email" or self.notify_email]

    @property
    def addresses(self) -> list[str]:
        """The e-mail addresses, one by one."""
        return self.notify_email.split(",") if self.notify_email else []


class RuntimeVariables(Variables):
    """Where a stage's process runs, and with what."""

    read_by = "Airflow's DAGs"

    runtime: Literal["local", "docker", "kubernetes"] = _variable(
        "local",
        "where stages run: as processes beside Airflow, in Docker containers or in Kubernetes pods",
        "'local', 'docker' or 'kubernetes'",
    )
    workers: WholeNumber = _variable(
        1,
        "how many tasks share the reading of images (`probe`) and the computing of frozen features (`features`); 1: no "
        "such tasks, the stages do it",
        f"a whole number from 1 to {MOST_WORKERS}",
        ge=1,
        le=MOST_WORKERS,
    )
    trainer_image: str = _variable(
        f"age-trainer:{__version__}",
        "the image that stages run in, built from docker/trainer.Dockerfile",
        "an image with its tag, not latest",
        pattern=_PINNED_IMAGE,
    )
    gpus: str = _variable(
        "all",
        "GPUs of a training: a number, or all (on Kubernetes: one)",
        "a number of GPUs or 'all'",
        pattern=r"^(all|[0-9]{1,2})$",
    )
    cpus: Number = _variable(
        1.0,
        "cores that a stage is guaranteed when others compete for them, such as 4",
        "a number of cores above 0",
        gt=0,
        le=4096,
    )
    memory: str = _variable(
        "", "the most memory a stage may use, such as 16g; empty: no limit", "a size such as 16g", pattern=_BYTES
    )
    shm: str = _variable(
        "1g", "shared memory of a stage (/dev/shm), such as 1g", "a size such as 1g", pattern=r"^[1-9][0-9]{0,14}[gm]$"
    )
    store: Address = _store_variable()
    labels: Address = _variable("", "the labels")
    images: Address = _variable("", "the folder of the images")
    score_images: Address = _variable("", "the images to score")
    score_out: Address = _variable("", "the scores")
    unlabelled: Address = _variable("", "the images without labels")
    cache_remote: Address = _variable("", "the store that caches exchange through")
    cache_volume: str = _variable(
        "",
        "the Docker volume or Kubernetes claim that holds the cache; empty: AGE_CACHE",
        "the name of a volume or claim",
        pattern=_NAME,
    )
    docker_network: str = _variable(
        "", "the Docker network of stages; empty: Docker's default", "the name of a network", pattern=_NAME
    )
    kubernetes_namespace: str = _variable(
        "default", "the namespace of the pods", "the name of a namespace", pattern=_NAME
    )
    kubernetes_node_selector: str = _variable(
        "",
        "labels of the nodes to train on, such as gpu=a10,pool=training",
        "labels such as gpu=a10,pool=training",
        pattern=_PAIRS,
    )
    kubernetes_secret: str = _variable(
        "",
        "the Secret whose keys become variables of stages, such as AWS_SECRET_ACCESS_KEY",
        "the name of a Secret",
        pattern=_NAME,
    )
    kubernetes_pod_template: str = _variable(
        "",
        "a YAML file with what the cluster wants of each pod: tolerations, pull secrets, service account, priority, …",
    )
    kubernetes_light_cpus: Number = _variable(
        0.5,
        "cores that stages which do not compute with the network are guaranteed (AGE_CPUS: all others)",
        "a number of cores above 0",
        gt=0,
        le=4096,
    )
    kubernetes_light_memory: str = _variable(
        "1g",
        "memory that stages which do not compute with the network are guaranteed (all others: AGE_MEMORY, or 4g)",
        "a size such as 1g",
        pattern=r"^[1-9][0-9]{0,14}[gm]$",
    )

    @model_validator(mode="after")
    def _data_is_reachable(self) -> Self:
        shared = self.store.startswith("s3://")
        if self.runtime == "kubernetes":
            places = {"AGE_STORE": self.store, "AGE_LABELS": self.labels, "AGE_IMAGES": self.images}
            places |= {"AGE_SCORE_IMAGES": self.score_images, "AGE_SCORE_OUT": self.score_out}
            places |= {"AGE_UNLABELLED": self.unlabelled, "AGE_CACHE_REMOTE": self.cache_remote}
            for name, place in places.items():
                if place and not place.startswith("s3://"):
                    raise ValueError(
                        f"{name}={place!r} is invalid: pods can't reach it; expected s3://bucket/prefix with "
                        "AGE_RUNTIME=kubernetes"
                    )
            if self.workers > 1 and not (self.cache_volume or self.cache_remote):
                raise ValueError(
                    f"AGE_WORKERS={self.workers} is invalid without AGE_CACHE_VOLUME or AGE_CACHE_REMOTE: no stage "
                    "would find what the workers have computed; name a claim that all pods can mount (ReadWriteMany), "
                    "or an s3:// address for the exchange"
                )
        if self.runtime == "docker" and self.cache_volume and not shared:
            raise ValueError(
                f"AGE_CACHE_VOLUME={self.cache_volume!r} is invalid with AGE_STORE={self.store!r}: the image's own "
                "user can write to the volume, but not to a folder of this machine; use a store on S3, or leave "
                "AGE_CACHE_VOLUME empty"
            )
        return self

    @property
    def gpu_count(self) -> int:
        """The number of GPUs; -1 for all there are."""
        return -1 if self.gpus == "all" else int(self.gpus)


class InterfaceVariables(Variables):
    """Airflow's UI in the checkout."""

    read_by = "`age-tasks up`"

    port: WholeNumber | None = _variable(
        None,
        "the port of Airflow's UI; AIRFLOW__API__PORT does the same",
        "a port from 1 to 65535",
        shown_default="8080",
        ge=1,
        le=65535,
    )


class MLflowVariables(Variables):
    """An MLflow server that published models are logged to; the names are MLflow's own."""

    model_config = SettingsConfigDict(env_prefix="MLFLOW_TRACKING_")
    read_by = "publish and rollback"

    uri: str = _variable("", "the MLflow server that published models are logged to; empty: none")
    username: str = _variable("", "the user of the MLflow server")
    password: str = _variable("", "the user's password", repr=False)
    token: str = _variable("", "a bearer token for the MLflow server, instead of user and password", repr=False)


GROUPS: tuple[type[Variables], ...] = (
    Locations,
    CacheVariables,
    StageVariables,
    LogVariables,
    WorkflowVariables,
    NoticeVariables,
    RuntimeVariables,
    InterfaceVariables,
    MLflowVariables,
)


class Variable(NamedTuple):
    """One environment variable, for people."""

    name: str
    default: str
    description: str
    read_by: str


def describe_environment() -> list[Variable]:
    """Every variable once, in the order of the groups; for the generated documentation and `age-tasks environment`."""
    found: dict[str, Variable] = {}
    for group in GROUPS:
        for field, info in group.model_fields.items():
            name = group.variable(field)
            described = Variable(name, _default_text(info), info.description or "", group.read_by)
            found.setdefault(name, described)
    data = Variable("AGE_DATA", "", "the folder with labels.csv and images/ on the host", "docker-compose.yaml")
    return [*found.values(), data]


# Of the S3 client, for a store or images on S3: keys, and where the store is.
AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
AWS_PLACE = ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")

# What a machine sets for the way of its programs to other hosts. Addresses of proxies may hold a password.
CERTIFICATES = "AWS_CA_BUNDLE"
WAY_OUT = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", CERTIFICATES)
# The variables that name a file or folder, or an address.
PLACES = (
    *map(Locations.variable, ("labels", "images", "store", "cache", "cache_remote")),
    *map(WorkflowVariables.variable, ("score_images", "score_out", "unlabelled")),
    CERTIFICATES,
)


def inherited_variables(*, secrets: bool = True) -> list[str]:
    """What a stage, a DAG or a page needs of the environment of its deployment, wherever it is run.

    Not among them: what Airflow's tasks set for each stage, and the folder of the host that `AGE_DATA` names.

    Args:
        secrets: with keys, passwords and tokens, and with this machine's way to other hosts: its proxies, the hosts
            that these are not for, and its certificates.
    """
    own = {
        group.variable(field): None
        for group in GROUPS
        if group not in (StageVariables, LogVariables)
        for field, info in group.model_fields.items()
        if secrets or info.repr
    }
    keys, way_out = (AWS_KEYS, WAY_OUT) if secrets else ((), ())
    return [*own, *keys, *AWS_PLACE, *way_out]


def absolute_place(place: str) -> str:
    """A place with its path absolute, as Airflow's tasks see a relative one; an address stays as it is."""
    if "://" in place or not place:
        return place
    return str(working_folder() / os.path.expanduser(place))  # noqa: PTH111  # that of Path fails for ~nobody


def absolute_places(env: Mapping[str, str]) -> dict[str, str]:
    """The variables in `env` that name places, with absolute paths, which mean the same in every folder and container.

    `..` is resolved by name: a container has only the folders that are mounted there.
    """
    found = {name: text for name in PLACES if (text := env.get(name, "").strip())}
    recipe = StageVariables.variable("recipe")
    if (text := env.get(recipe, "").strip()).endswith((".yaml", ".yml")):
        found[recipe] = text
    return {name: text if "://" in text else os.path.normpath(absolute_place(text)) for name, text in found.items()}


def environment_problems(env: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with the variables, a line each; empty where all are valid."""
    lines: dict[str, None] = {}
    for group in GROUPS:
        try:
            group.from_env(env)
        except SettingsError as error:
            lines |= dict.fromkeys(str(error).splitlines())
    return list(lines)


def _default_text(info: FieldInfo) -> str:
    if text := _facts(info)["shown_default"]:
        return text
    default = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, {}) else str(default)


def _facts(info: FieldInfo) -> dict[str, str]:
    facts = info.json_schema_extra
    return {name: str(text) for name, text in facts.items()} if isinstance(facts, dict) else {}


def _beside(labels: str, name: str) -> str:
    if not labels:
        return ""
    return f"{labels.rpartition('/')[0]}/{name}" if "://" in labels else str(Path(labels).parent / name)
