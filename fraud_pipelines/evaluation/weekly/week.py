"""Weeks: from Monday to Sunday, in UTC."""

from datetime import date, timedelta

_DAY = timedelta(days=1)


def monday_of(day: date) -> date:
    """The Monday of the week that ``day`` lies in."""
    return day - day.weekday() * _DAY


def last_full_week(today: date) -> date:
    """The Monday of the last week that was over before ``today``."""
    return monday_of(today) - 7 * _DAY
