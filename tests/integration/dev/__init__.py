"""The sandbox: real servers, started and broken."""
