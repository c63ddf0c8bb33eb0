"""Tests of api.yml and of the contract layer."""
