"""promo-api (python -m promo_api).

Commands: serve, migrate, distribute, check, reset-password, close-account, dev, demo, antifraud-stub.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from dotenv import dotenv_values

from promo_api import __version__
from promo_api.config.settings import Settings, SettingsError, deprecated_names
from promo_api.config.unknown_settings import describe_unknown_setting, find_unknown_settings
from promo_api.config.values import Address
from promo_api.errors import ServiceUnavailable
from promo_api.telemetry.metrics_server import CannotListenError, MetricsServer, run_metrics_server

# Not __name__, which is "__main__": lines of other packages are logged as `library`.
_log = logging.getLogger("promo_api")


@dataclass(frozen=True)
class Environment:
    """The variables that settings are read from.

    Attributes:
        variables: the environment, and the variables in `.env` that it does not set.
        unknown: names that look like misspelt settings, with the most similar setting.
    """

    variables: Mapping[str, str]
    unknown: Mapping[str, str]

    def settings(self) -> Settings:
        """Return the settings, or raise SettingsError."""
        try:
            return Settings.from_environment(self.variables)
        except SettingsError as error:
            raise SettingsError([*error.problems, *starmap(describe_unknown_setting, self.unknown.items())]) from None


def main() -> int:
    """Run the command in the arguments. Return its exit status; 2: invalid settings."""
    parser = argparse.ArgumentParser(
        prog=_program(),
        description="The Promo Code API.",
        epilog="Exit status: 0 success, 1 failure, 2 invalid arguments or settings.",
    )
    parser.add_argument("--version", action="version", version=f"promo-api {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (function, description) in _COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        command.set_defaults(run=function)
        if name == "antifraud-stub":
            command.add_argument("address", nargs="?", default="127.0.0.1:9090", help="host:port to listen on")
        if name in ("reset-password", "close-account"):
            command.add_argument("kind", metavar="KIND", choices=("company", "user"), help="company or user")
            command.add_argument("email", metavar="EMAIL", help="the e-mail address of the account, in any case")
        if name == "close-account":
            command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        if name == "check":
            command.add_argument("subjects", nargs="*", metavar="SUBJECT", help="check only these, such as schema")
    arguments = parser.parse_args()
    try:
        status: int = arguments.run(_environment(), arguments)
        return status  # noqa: TRY300
    except SettingsError as error:
        print("Invalid settings:", *error.problems, sep="\n- ", file=sys.stderr)
        return 2


def _program() -> str:
    """Return the command that the user has typed."""
    name = Path(sys.argv[0]).name
    return "python -m promo_api" if name == "__main__.py" else name


def _environment() -> Environment:
    """Return the environment variables. Those in `.env` apply if they are missing or empty."""
    try:
        in_file = {name: value or "" for name, value in dotenv_values(".env").items()}
    except OSError as error:
        raise SettingsError([f".env can't be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        raise SettingsError([".env is not written in UTF-8."]) from None
    variables = in_file | {name: value for name, value in os.environ.items() if value}
    return Environment(variables, find_unknown_settings(variables, in_file))


def _serve(environment: Environment, _arguments: argparse.Namespace) -> int:
    from promo_api.telemetry.logs import set_up_logging

    settings = environment.settings()
    set_up_logging(settings.log_format)
    for old, new in deprecated_names(environment.variables).items():
        _log.warning("setting_renamed", extra={"setting": old, "new_name": new})
    if settings.antifraud_address is None:
        _log.warning("antifraud_disabled")
    for name, similar in environment.unknown.items():
        _log.warning("setting_unknown", extra={"setting": name, "similar": similar})
    try:
        with run_metrics_server(settings.metrics_address) as metrics_server:
            return _serve_with_metrics(settings, metrics_server)
    except CannotListenError as error:
        print(error, file=sys.stderr)
        return 1


def _serve_with_metrics(settings: Settings, metrics_server: MetricsServer | None) -> int:
    """Serve. The imports are here because prometheus_client decides when it is imported where to count."""
    from promo_api.app import create_app
    from promo_api.contract.application import BrokenContract
    from promo_api.runtime import Runtime
    from promo_api.server.gunicorn_app import GunicornApp

    try:
        runtime = Runtime.open(settings)
        app = create_app(runtime)
    except BrokenContract as error:
        print(error, file=sys.stderr)
        return 1
    GunicornApp(app, settings, metrics_server, runtime.health.start_draining).run()
    return 0


def _migrate(environment: Environment, _arguments: argparse.Namespace) -> int:
    from persistence.database.engine import Database
    from persistence.database.errors import MissingPrivilege
    from persistence.database.revisions import newest_revision
    from persistence.migrations import update_schema
    from promo_api.failure_messages import describe_failure

    settings = environment.settings()
    for sentence in starmap(describe_unknown_setting, environment.unknown.items()):
        print("Warning:", sentence, file=sys.stderr)
    database = Database(settings)
    try:
        with database.translated():
            update_schema(database.engine)
    except (ServiceUnavailable, MissingPrivilege) as error:
        reason = f"{error.reason}." if isinstance(error, MissingPrivilege) else describe_failure(error)
        print(f"The migrations could not be applied, and nothing was changed: {reason}", file=sys.stderr)
        return 1
    finally:
        database.close()
    print(f"The schema is at revision {newest_revision()}.")
    return 0


def _distribute(environment: Environment, _arguments: argparse.Namespace) -> int:
    from promo_api.distribute import distribute

    return distribute(environment.settings())


def _check(environment: Environment, arguments: argparse.Namespace) -> int:
    from promo_api.check import SUBJECTS, Level, check_all

    unknown = [subject for subject in arguments.subjects if subject not in SUBJECTS]
    if unknown:
        print(f"Unknown: {', '.join(unknown)}. The subjects are {', '.join(SUBJECTS)}.", file=sys.stderr)
        return 2
    status = 0
    for finding in check_all(environment.variables, environment.unknown, arguments.subjects):
        print(f"{finding.level:4}  {finding.subject:13}  {finding.message}", flush=True)
        status = max(status, int(finding.level is Level.FAIL))
    return status


def _reset_password(environment: Environment, arguments: argparse.Namespace) -> int:
    from promo_api.operator_commands import reset_password

    return reset_password(environment.settings(), arguments.kind, arguments.email)


def _close_account(environment: Environment, arguments: argparse.Namespace) -> int:
    from promo_api.operator_commands import close_account

    settings = environment.settings()
    return close_account(settings, arguments.kind, arguments.email, is_confirmed=arguments.yes)


def _dev(environment: Environment, _arguments: argparse.Namespace) -> int:
    try:
        from promo_api.dev.run import run_dev
    except ModuleNotFoundError as error:
        return _report_missing("dev", error)
    return run_dev(environment.variables)


def _demo(environment: Environment, _arguments: argparse.Namespace) -> int:
    try:
        from promo_api.dev.demo.command import run_demo
    except ModuleNotFoundError as error:
        return _report_missing("demo", error)
    return run_demo(environment.variables)


def _report_missing(command: str, error: ModuleNotFoundError) -> int:
    print(f"{command} needs the package {error.name} of requirements-dev.lock: run make install.", file=sys.stderr)
    return 1


def _antifraud_stub(_environment: Environment, arguments: argparse.Namespace) -> int:
    from promo_api.dev.antifraud_stub import run_stub

    try:
        address = Address.parse(arguments.address)
    except ValueError as error:
        print(f"The address {error}.", file=sys.stderr)
        return 2
    return run_stub(*address)


_COMMANDS: dict[str, tuple[Callable[[Environment, argparse.Namespace], int], str]] = {
    "serve": (_serve, "serve the API; run migrate first"),
    "migrate": (_migrate, "update the schema of the database"),
    "distribute": (_distribute, "distribute the tables over the servers of a Citus cluster; run migrate first"),
    "check": (_check, "check settings, PostgreSQL, Redis, the anti-fraud service and stored totals"),
    "reset-password": (_reset_password, "replace the password of an account, print it and revoke all tokens"),
    "close-account": (_close_account, "delete a user, or close a company and end its promos"),
    "dev": (_dev, "run the API with an embedded PostgreSQL and Valkey and an anti-fraud stub"),
    "demo": (_demo, "run the API as dev does, with example data of the last 30 days"),
    "antifraud-stub": (_antifraud_stub, "run a stub of the anti-fraud service"),
}


if __name__ == "__main__":
    sys.exit(main())
