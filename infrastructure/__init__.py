"""Adapters of both programs: each room is a technology or a program that the application speaks to."""
