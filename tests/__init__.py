"""The tests: unit, integration, contract, race, e2e, bench; on real servers wherever a server is asked."""
