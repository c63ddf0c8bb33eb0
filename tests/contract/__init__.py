"""Tests of api.yml and of the layer that makes the server do what it says."""
