"""The commands: python -m promo_api serve | migrate | check | dev | antifraud-stub."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from dotenv import dotenv_values

from promo_api.errors import ServiceUnavailable
from promo_api.exposition import CannotListen, Exposition, expose
from promo_api.setting_values import Address
from promo_api.settings import Settings, SettingsError

Environment = Mapping[str, str]


def main() -> int:
    """Run the command that is named, and return its exit status: 2 if the settings can't be used."""
    parser = argparse.ArgumentParser(prog="python -m promo_api", description="The Promo Code API.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (function, sentence) in _COMMANDS.items():
        command = commands.add_parser(name, help=sentence, description=sentence)
        command.set_defaults(run=function)
        if name == "antifraud-stub":
            command.add_argument("address", nargs="?", default="127.0.0.1:9090", help="host:port to listen on")
    chosen = parser.parse_args()
    try:
        status: int = chosen.run(_environment(), chosen)
        return status  # noqa: TRY300
    except SettingsError as error:
        print("The settings can't be used:", *error.problems, sep="\n- ", file=sys.stderr)
        return 2


def _environment() -> Environment:
    """Return the variables of this process, and what `.env` says where they say nothing."""
    try:
        environment = {name: value or "" for name, value in dotenv_values(".env").items()}
    except OSError as error:
        raise SettingsError([f".env can't be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        raise SettingsError([".env is not written in UTF-8."]) from None
    return environment | {name: value for name, value in os.environ.items() if value}


def _serve(environment: Environment, _arguments: argparse.Namespace) -> int:
    from promo_api.logs import set_up_logging

    settings = Settings.from_environment(environment)
    set_up_logging(settings.log_format)
    try:
        with expose(settings.metrics_address) as exposition:
            return _serve_exposed(settings, exposition)
    except CannotListen as error:
        print(error, file=sys.stderr)
        return 1


def _serve_exposed(settings: Settings, exposition: Exposition | None) -> int:
    """Import what counts, now that it is decided where it does, and serve."""
    from promo_api.app import create_app
    from promo_api.contract.application import BrokenContract
    from promo_api.gunicorn_conf import Server
    from promo_api.runtime import Runtime

    try:
        app = create_app(Runtime.open(settings))
    except BrokenContract as error:
        print(error, file=sys.stderr)
        return 1
    Server(app, settings, exposition).run()
    return 0


def _migrate(environment: Environment, _arguments: argparse.Namespace) -> int:
    from persistence.engine import Database
    from persistence.errors import MissingPrivilege
    from persistence.migrations import update_schema
    from persistence.revisions import newest_revision

    database = Database(Settings.from_environment(environment))
    try:
        with database.translated():
            update_schema(database.engine)
    except (ServiceUnavailable, MissingPrivilege) as error:
        print(f"The migrations could not be applied, and nothing was changed: {error.reason}", file=sys.stderr)
        return 1
    finally:
        database.close()
    print(f"The schema is at revision {newest_revision()}.")
    return 0


def _check(environment: Environment, _arguments: argparse.Namespace) -> int:
    from promo_api.check import Level, check_all

    status = 0
    for finding in check_all(environment):
        print(f"{finding.level:4}  {finding.thing:13}  {finding.sentence}", flush=True)
        status = max(status, int(finding.level is Level.FAIL))
    return status


def _dev(environment: Environment, _arguments: argparse.Namespace) -> int:
    from promo_api.sandbox.dev import run_dev

    return run_dev(environment)


def _antifraud_stub(_environment: Environment, arguments: argparse.Namespace) -> int:
    from promo_api.sandbox.antifraud_stub import run_stub

    try:
        address = Address.read(arguments.address)
    except ValueError as error:
        print(f"The address {error}.", file=sys.stderr)
        return 2
    return run_stub(*address)


_COMMANDS: dict[str, tuple[Callable[[Environment, argparse.Namespace], int], str]] = {
    "serve": (_serve, "serve the API; the schema must be there"),
    "migrate": (_migrate, "bring the schema of the database up to date"),
    "check": (_check, "say of everything that the service needs whether it is well"),
    "dev": (_dev, "run everything on this machine: PostgreSQL, Valkey, an anti-fraud stand-in and the API"),
    "antifraud-stub": (_antifraud_stub, "run a stand-in of the anti-fraud service"),
}


if __name__ == "__main__":
    sys.exit(main())
