"""The SQL functions that an expression may call: their value follows from their arguments alone, on any machine."""

from typing import Final

_OPERATORS: Final = "+ - * / // % ** ^ || ~~ !~~ ~~* !~~* ~~~ & | << >> ~ @"
_NUMBERS: Final = """
    abs sign ceil ceiling floor round trunc greatest least mod fmod fdiv sqrt cbrt pow power exp ln log log2 log10
    sin cos tan asin acos atan atan2 sinh cosh tanh cot degrees radians pi isnan isinf isfinite xor gcd lcm even
    round_even add subtract multiply divide
"""
_CONDITIONS: Final = "if nullif coalesce ifnull"
_TEXT: Final = """
    length len char_length character_length strlen lower lcase upper ucase trim ltrim rtrim left right substr
    substring replace translate reverse repeat lpad rpad concat concat_ws split_part contains starts_with prefix
    ends_with suffix position instr strpos regexp_matches regexp_full_match regexp_replace regexp_extract
    like_escape ilike_escape not_like_escape not_ilike_escape levenshtein editdist3 damerau_levenshtein hamming
    mismatches jaccard jaro_similarity jaro_winkler_similarity ascii unicode ord chr strip_accents md5 sha256 hex
    overlay
"""
_TIMES: Final = """
    year quarter month week weekofyear yearweek day dayofmonth dayofweek weekday isodow isoyear dayofyear hour minute
    second millisecond microsecond epoch epoch_ms epoch_us date_part datepart date_trunc datetrunc date_diff datediff
    date_sub datesub last_day dayname monthname make_date make_timestamp strftime strptime try_strptime time_bucket
    to_days to_hours to_minutes to_seconds to_milliseconds to_microseconds to_weeks to_months to_quarters to_years
    days_in_month
"""

SCALAR_FUNCTIONS: Final[frozenset[str]] = frozenset(
    " ".join((_OPERATORS, _NUMBERS, _CONDITIONS, _TEXT, _TIMES)).split()
)
"""Operators and functions, in lower case. CASE, IN, BETWEEN, AND, OR, NOT, casts and comparisons are no functions."""
