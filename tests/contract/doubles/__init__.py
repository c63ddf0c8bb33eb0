"""Handlers for contracts that tests make up."""
