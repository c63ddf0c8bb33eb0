"""Values of settings: valid and invalid ones."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from promo_api.config.values import Address, LogFormat, Rate
from tests.cases import all_cases
from tests.certificates import make_ca
from tests.unit.required_settings import problem_of, read


def test_ca_file(tmp_path: Path) -> None:
    """A PEM file with a certificate is accepted."""
    path = str(make_ca(tmp_path, "ca").certificate)
    assert read(ANTIFRAUD_CA_FILE=path).antifraud_ca_file == path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't be read, no such file or directory"),
        (b"", "must be a PEM file of certificates"),
        (b"no certificate\n", "must be a PEM file of certificates"),
        (b"\x30\x82\xff", "must be a PEM file of certificates"),
        ("key", "must be a PEM file of certificates"),
        ("folder", "can't be read, is a directory"),
    ],
    ids=["missing", "empty", "text", "binary", "private key", "folder"],
)
def test_invalid_ca_file(tmp_path: Path, content: bytes | str | None, problem: str) -> None:
    """A file that is missing, unreadable or without a certificate is a problem that names it."""
    path = tmp_path / "ca.pem"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path = make_ca(tmp_path, "ca").key if content == "key" else tmp_path
    assert problem_of(ANTIFRAUD_CA_FILE=str(path)).startswith(
        f"ANTIFRAUD_CA_FILE {problem} (it is '{path}'): PEM file "
    )


@pytest.mark.parametrize("text", ["json", "text"])
def test_log_formats(text: str) -> None:
    """The log has two formats."""
    assert read(LOG_FORMAT=text).log_format == LogFormat(text)


@pytest.mark.parametrize("text", ["JSON", "text ", "xml", "TRUE"])
def test_invalid_log_formats(text: str) -> None:
    """Any other format is a problem that names both."""
    assert problem_of(LOG_FORMAT=text).startswith(
        f"LOG_FORMAT must be json, text or dev (it is {text!r}): format of log lines"
    )


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("*", ("*",)),
        ("https://shop.example", ("https://shop.example",)),
        ("http://localhost:3000, https://[::1]:8443", ("http://localhost:3000", "https://[::1]:8443")),
    ],
)
def test_origins(text: str, origins: tuple[str, ...]) -> None:
    """No other origin is allowed by default; others are listed as browsers write them."""
    assert read(CORS_ORIGINS=text).origins == origins


@pytest.mark.parametrize(
    "text",
    ["shop.example", "https://shop.example/", "https://Shop.example", "null", "*,https://a.b", "https://*.a.b", ","],
)
def test_invalid_origins(text: str) -> None:
    """A value that no browser sends as an origin is a problem, and so is a wildcard within an origin."""
    assert problem_of(CORS_ORIGINS=text).startswith("CORS_ORIGINS must be an origin such as https://shop.example, ")


@pytest.mark.parametrize(
    ("text", "names"), [("", ()), ("X-Tenant", ("X-Tenant",)), ("x-a, X_b ,1", ("x-a", "X_b", "1"))]
)
def test_cross_origin_headers(text: str, names: tuple[str, ...]) -> None:
    """No further header is allowed by default; several are separated by commas."""
    assert read(CORS_HEADERS=text).cross_origin_headers == names


@pytest.mark.parametrize("text", ["*", "x-a,*", ",", "x-a,,x-b", "x a", "x:a", "x-a\r\nx-b", "\u043a", "x" * 101])
def test_invalid_cross_origin_headers(text: str) -> None:
    """A wildcard or a text that is no name of a header is a problem."""
    assert problem_of(CORS_HEADERS=text).startswith("CORS_HEADERS must be the name of a header, or several separated")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("localhost:1", Address("localhost", 1)),
        ("x-1.example:65535", Address("x-1.example", 65535)),
        ("[::1]:8080", Address("::1", 8080)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """An address is a host and a port; an IPv6 address is in brackets."""
    assert read(SERVER_ADDRESS=text).server_address == address


@pytest.mark.parametrize("text", ["127.0.0.1:80", "x.example:1", "[::1]:8080"])
def test_text_of_an_address(text: str) -> None:
    """The text of an address is the text that was read."""
    assert str(read(SERVER_ADDRESS=text).server_address) == text


@all_cases(
    "text",
    [
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:99999",
        "host:-1",
        "host:x",
        "host: 80",
        "host:80 ",
        "host:\uff18\uff10",
        "80",
        "[]:80",
        " :80",
        "a b:80",
        "http://host:80",
        "host/path:80",
    ],
)
def test_invalid_addresses(text: str) -> None:
    """An address that cannot be listened on is a problem."""
    assert (
        problem_of(SERVER_ADDRESS=text) == f"SERVER_ADDRESS must be host:port (it is {text!r}): host:port to listen on."
    )


@pytest.mark.parametrize(
    ("hosts", "ports"), [("pg1", "1"), ("pg1,pg2", "65535"), ("pg1,pg2", "5432,5433"), ("/run/a,/run/b,pg", "1,2,3")]
)
def test_ports_of_hosts(hosts: str, ports: str) -> None:
    """Several hosts have one port, or one each."""
    settings = read(POSTGRES_HOST=hosts, POSTGRES_PORT=ports)
    assert (settings.postgres_host, settings.postgres_port) == (hosts, ports)


@pytest.mark.parametrize(("hosts", "ports"), [("pg1", "1,2"), ("pg1,pg2", "1,2,3"), ("pg1,pg2,pg3", "1,2")])
def test_wrong_number_of_ports(hosts: str, ports: str) -> None:
    """Any other number of ports is a problem."""
    assert "POSTGRES_PORT must be one port" in problem_of(POSTGRES_HOST=hosts, POSTGRES_PORT=ports)


@pytest.mark.parametrize(
    ("hosts", "ports", "replicas"),
    [
        ("", "5432", []),
        ("pg1,pg2", "5432", [("pg1", "5432"), ("pg2", "5432")]),
        ("pg1,pg2", "1,2", [("pg1", "1"), ("pg2", "2")]),
    ],
)
def test_replicas(hosts: str, ports: str, replicas: list[tuple[str, str]]) -> None:
    """Each replica has the port for all, or its own."""
    assert read(POSTGRES_READ_HOST=hosts, POSTGRES_READ_PORT=ports).replicas == replicas


def test_wrong_number_of_ports_of_replicas() -> None:
    """Any other number of ports is a problem."""
    problem = problem_of(POSTGRES_READ_HOST="pg1", POSTGRES_READ_PORT="1,2")
    assert problem == "POSTGRES_READ_PORT must be one port for all hosts of POSTGRES_READ_HOST, or one for each."


@pytest.mark.parametrize("text", ["0", "65536", "x", "5432,", ",5432", "5432, 5433", "-1", "5432;5433", "\uff18"])
def test_invalid_ports(text: str) -> None:
    """A value that is not a port or a list of ports is a problem."""
    assert "POSTGRES_PORT must be a port from 1 to 65535, or several separated by commas" in problem_of(
        POSTGRES_PORT=text
    )


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("antifraud:9090", "http://antifraud:9090"),
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("antifraud", "http://antifraud"),
        ("http://antifraud:9090", "http://antifraud:9090"),
        ("http://antifraud:9090/", "http://antifraud:9090"),
        ("https://antifraud.example", "https://antifraud.example"),
        ("https://antifraud.example/inner/way/", "https://antifraud.example/inner/way"),
        ("[::1]:9090", "http://[::1]:9090"),
    ],
)
def test_antifraud_addresses(text: str, url: str) -> None:
    """The anti-fraud service is host:port or a URL, with an optional path."""
    assert read(ANTIFRAUD_ADDRESS=text).antifraud_address == url


@pytest.mark.parametrize("text", ["none", "None", "NONE"])
def test_no_antifraud_service(text: str) -> None:
    """`none`, in any case of letters, is no host: there is no anti-fraud service."""
    settings = read(ANTIFRAUD_ADDRESS=text)
    assert (settings.antifraud_address, settings.antifraud_display_url) == (None, "none")


@all_cases(
    "text",
    [
        "http://",
        "https://:80",
        "ftp://antifraud",
        "file:///etc/passwd",
        "://antifraud",
        "/path",
        "antifraud:0",
        "antifraud:x",
        "antifraud:65536",
        "http://[::1",
        "::1:90",
        "http://antifraud?x=1",
        "http://antifraud#x",
        "antifraud:80 ",
        " antifraud:80",
        "anti fraud:80",
        "antifraud:80\n",
    ],
)
def test_invalid_antifraud_addresses(text: str) -> None:
    """Any other value is a problem."""
    problem = problem_of(ANTIFRAUD_ADDRESS=text)
    assert problem.startswith("ANTIFRAUD_ADDRESS must be host:port, an http or https URL, or none: ")


@pytest.mark.parametrize(
    ("text", "rate"), [("20/900", Rate(20, 900)), ("1/1", Rate(1, 1)), ("999999999/999999", Rate(999999999, 999999))]
)
def test_rates(text: str, rate: Rate) -> None:
    """A rate is times/seconds, and its text is the text that was read."""
    assert read(ACTIVATIONS_PER_USER=text).activations_per_user == rate
    assert str(rate) == text


def test_no_limit() -> None:
    """0 is no limit."""
    rate = read(ACTIVATIONS_PER_USER="0").activations_per_user
    assert (rate.times, str(rate)) == (0, "0")


@all_cases("text", ["20", "20/0", "0/60", "/60", "20/", "-1/60", "20/60/1", "20 / 60", "1/1000000", "٢/60"])
def test_invalid_rates(text: str) -> None:
    """Any other rate is a problem."""
    assert problem_of(ACTIVATIONS_PER_USER=text).startswith("ACTIVATIONS_PER_USER must be times/seconds, such as 20/9")


@pytest.mark.parametrize("text", ["X-Real-IP", "x-forwarded-for"])
def test_headers(text: str) -> None:
    """The name of a header is accepted in any case."""
    assert read(CLIENT_ADDRESS_HEADER=text).client_address_header == text


@pytest.mark.parametrize("text", ["X Real", "X-Real-IP:", "X_REAL", "x" * 101, "é"])
def test_invalid_headers(text: str) -> None:
    """A value that is not the name of a header is a problem."""
    assert problem_of(CLIENT_ADDRESS_HEADER=text).startswith("CLIENT_ADDRESS_HEADER must be the name of a header")


def test_networks() -> None:
    """Networks are listed as CIDR blocks or as single addresses; by default there is none."""
    assert read().webhook_networks == ()
    expected = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"), ip_network("127.0.0.1/32"))
    assert read(WEBHOOK_ALLOWED_NETWORKS="10.1.0.0/16, fd00::/8,127.0.0.1").webhook_networks == expected


@pytest.mark.parametrize("text", ["10.1.0.1/16", "10.0.0.0/33", "shop.example", "10.0.0.0/8,,fd00::/8", "*"])
def test_invalid_networks(text: str) -> None:
    """A text that is no network, or has bits after its prefix, is a problem."""
    problem = "WEBHOOK_ALLOWED_NETWORKS must be a network such as 10.1.0.0/16, or several separated by commas"
    assert problem_of(WEBHOOK_ALLOWED_NETWORKS=text).startswith(f"{problem} (it is {text!r})")
