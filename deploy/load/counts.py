"""What happened to the sessions of a process, in numbers. Core."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """What happened to the sessions of a process since it began."""

    sent: int = 0
    sent_again: int = 0
    acked: int = 0
    rejected: int = 0
    withheld: int = 0
    """messages that were due when too many of their author's were not answered"""
    delivered: int = 0
    identified: int = 0
    resumed: int = 0
    invalid: int = 0
    """RESUMEs answered by INVALID_SESSION"""
    lost: int = 0
    """connections that ended while a session used them"""
    refused: int = 0
    """ways in that ended before the session was there"""
    pages: int = 0
    pages_failed: int = 0
    expelled: int = 0
    """sessions that the server will not have back"""
