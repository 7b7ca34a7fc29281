"""Bad declarations: each one message, with file, line and key, and all of a file together."""

import re
from pathlib import Path

import pytest

from fraud_pipelines.plan.compile import compile_plan
from fraud_pipelines.plan.problems import InvalidDeclarations
from fraud_pipelines.plan.registry import MAX_ATTRIBUTES, MAX_ENTITIES, MAX_FEATURES
from fraud_pipelines_tests.plan.files import problems_of, written

ATTRIBUTES = {
    "currency: {typ: text}": ("attributes.currency.typ", "'typ' is no key here; did you mean type"),
    "currency: {}": ("attributes.currency.type", "is required"),
    "currency: text": ("attributes.currency", "expected the keys type, role"),
    "currency: {type: txt}": ("attributes.currency.type", "'txt' is no type; did you mean text"),
    "currency: {type: [text]}": ("attributes.currency.type", "is no type"),
    "c: {type: text, role: hashed}": ("attributes.c.role", "'hashed' is no role; did you mean hash"),
    "c: {type: number, role: hash}": ("attributes.c.role", "role hash does not fit the type number"),
    "c: {type: text, role: numeric}": ("attributes.c.role", "role numeric does not fit the type text"),
    "c: {type: timestamp, role: label}": ("attributes.c.role", "role label does not fit the type timestamp"),
    "c: {type: text, daily: true}": ("attributes.c.daily", "text needs a role"),
    "c: {type: text, role: none, daily: true}": ("attributes.c.daily", "its role is none"),
    "c: {type: text, group: places}": ("attributes.c.group", "text needs a role"),
    "c: {type: number, group: Big ones}": ("attributes.c.group", "'Big ones' is no name of a group"),
    "c: {type: text, role: hash, direction: low}": ("attributes.c.direction", "a hash has no direction"),
    "c: {type: number, direction: up}": ("attributes.c.direction", "'up' is no direction; there are high, low"),
    "c: {type: number, min: 2, max: 1}": ("attributes.c.min", "min 2 lies above max 1"),
    "c: {type: number, min: low}": ("attributes.c.min", "expected a number, not 'low'"),
    "c: {type: number, min: .nan}": ("attributes.c.min", "expected a number"),
    "c: {type: number, min: true}": ("attributes.c.min", "expected a number"),
    "c: {type: text, max: 3}": ("attributes.c.max", "of type text has no max"),
    "c: {type: text, pii: 1}": ("attributes.c.pii", "expected true or false, not 1"),
    "c: {type: text, description: 5}": ("attributes.c.description", "expected text, not 5"),
    "Currency: {type: text}": ("attributes.Currency", "is no name.* such as currency"),
    "card id: {type: text}": ("attributes.card id", "is no name"),
    "no: {type: text}": ("attributes.no", "put it in quotes"),
    "1: {type: text}": ("attributes.1", "put it in quotes"),
    "event_date: {type: text}": ("attributes.event_date", "is reserved"),
    "score: {type: number}": ("attributes.score", "is reserved"),
    "select: {type: text}": ("attributes.select", "key word of SQL"),
    "left: {type: text}": ("attributes.left", "key word of SQL"),
    "user_id: {type: text}": ("attributes.user_id", "is part of every transaction"),
    "amount: {type: number}": ("attributes.amount", "is part of every transaction"),
    "country: {type: number}": ("attributes.country.type", "ships as text"),
    "user_z: {type: number}": ("attributes.user_z", "stands twice; the other is at shipped.yaml:"),
}

AGGREGATES = {
    "{how: median, of: amount, over: 5}": ("how", "'median' is no function; did you mean mean"),
    "{how: [sum], of: amount, over: 5}": ("how", "is no function"),
    "{of: amount, over: 5}": ("how", "is required"),
    "{how: sum, offf: amount, over: 5}": ("offf", "is no key here; did you mean of"),
    "{how: sum, of: amont, over: 5}": ("of", "'amont' is no column.*; did you mean amount"),
    "{how: sum, of: 3, over: 5}": ("of", "expected the name of a column"),
    "{how: sum, of: [], over: 5}": ("of", "expected the name of a column"),
    "{how: sum, over: 5}": ("of", "sum takes one column, not 0"),
    "{how: sum, of: [amount, amount], over: 5}": ("of", "sum takes one column, not 2"),
    "{how: count, of: amount, over: 5}": ("of", "count takes no column"),
    "{how: speed, of: amount}": ("of", "speed takes 2 columns, not 1"),
    "{how: speed, of: [amount, amount]}": ("of", "names amount twice"),
    "{how: sum, of: country, over: 5}": ("of", "sum takes a number; country is of type text"),
    "{how: mean, of: hour_of_day, over: 5}": ("of", "'hour_of_day' is no column"),
    "{how: mean, of: device_tx_count_24h, over: 5}": ("of", "is no aggregate of card above"),
    "{how: sum, of: amount}": ("over", "sum needs a window"),
    "{how: sum, of: amount, over: []}": ("over", "the list is empty"),
    "{how: sum, of: amount, over: 0}": ("over", "0 is no number of rows"),
    "{how: sum, of: amount, over: -3}": ("over", "-3 is no number of rows"),
    "{how: sum, of: amount, over: 1001}": ("over", "at most 1,000"),
    "{how: sum, of: amount, over: 2.5}": ("over", "2.5 is no window"),
    "{how: sum, of: amount, over: true}": ("over", "True is no window"),
    "{how: sum, of: amount, over: 0h}": ("over", "'0h' is a span of zero"),
    "{how: sum, of: amount, over: 24x}": ("over", "'x' in '24x' is no unit"),
    "{how: sum, of: amount, over: 3 weeks}": ("over", "'weeks' in '3 weeks' is no unit"),
    "{how: sum, of: amount, over: 400d}": ("over", "longer than 366 days"),
    "{how: sum, of: amount, over: 99999999d}": ("over", "longer than 366 days"),
    "{how: sum, of: amount, over: [1h, 1h], name: x}": ("over", "two of 1h, 1h are equal"),
    "{how: sum, of: amount, over: '24'}": ("over", "is no span"),
    "{how: sum, of: amount, over: -1h}": ("over", "is no span"),
    "{how: sum, of: amount, over: [24h, 1d]}": ("over", "two of 24h, 1d are equal"),
    "{how: changed, of: country, over: 3}": ("over", "changed takes no window"),
    "{how: lag, of: amount, over: 1h}": ("over", "lag takes a number of rows.*not '1h'"),
    "{how: fraud_rate, over: 5}": ("over", "fraud_rate takes a span.*not 5"),
    "{how: z, of: amount, options: {windw: 5}}": ("options.windw", "is no option of z; did you mean window"),
    "{how: z, of: amount, options: {window: 0}}": ("options.window", "0 is not between 1 and 1000"),
    "{how: z, of: amount, options: {window: 2.5}}": ("options.window", "2.5 is no whole number"),
    "{how: count, over: 1h, options: {window: 5}}": ("options.window", "is no option of count"),
    "{how: count, over: 1h, where: amount}": ("where", "must be true or false.*DOUBLE"),
    "{how: count, over: 1h, where: amount >}": ("where", "is no SQL"),
    "{how: count, over: 1h, where: amont > 3}": ("where", "'amont' is no column.*amount"),
    "{how: count, over: 1h, where: user_z > 3}": ("where", "user_z is a feature"),
    "{how: count, over: 1h, where: max(amount) > 3}": ("where", r"max\(\) looks at other rows"),
    "{how: count, over: 1h, where: country > 3}": ("where", "compare|cast"),
    "{how: count, over: 1h, where: amount = 'declined'}": ("where", "Could not convert string 'declined' to DOUBLE"),
    "{how: count, over: 1h, where: 3}": ("where", "expected text"),
    "{how: fraud_count, over: 1d, where: amount > 3}": ("where", "takes no condition"),
    "{how: count, over: 1h, name: user_z}": ("name", "stands twice; the other is at shipped.yaml:"),
    "{how: count, over: 1h, name: Count}": ("name", "is no name.* such as count"),
    "{how: count, over: 1h, name: decision}": ("name", "is reserved"),
    "{how: changed, of: country, role: label, direction: low}": ("direction", "has no direction"),
    "{how: sum, of: amount, over: 1h, role: binary}": ("role", "role binary does not fit the type number"),
    "3": ("", "expected the keys how, of"),
}

ENTITIES = {
    "card: {key: card_id, aggregates: [{how: days_since_first}]}": ("entities.card.key", "'card_id' is no column"),
    "card: {key: amount, aggregates: [{how: days_since_first}]}": ("entities.card.key", "amount is of type number"),
    "card: {key: 5, aggregates: [{how: days_since_first}]}": ("entities.card.key", "expected the name of a column"),
    "card: {key: [], aggregates: [{how: days_since_first}]}": ("entities.card.key", "expected the name of a column"),
    "card: {aggregates: [{how: days_since_first}]}": ("entities.card.key", "is required"),
    "card: {key: [city, city], aggregates: [{how: days_since_first}]}": ("entities.card.key", "names city twice"),
    "card: {key: city}": ("entities.card.aggregates", "expected a list of aggregates"),
    "card: {key: city, aggregates: []}": ("entities.card.aggregates", "expected a list of aggregates"),
    "card: {key: city, agregates: 3, aggregates: [{how: days_since_first}]}": (
        "entities.card.agregates",
        "did you mean aggregates",
    ),
    "card: city": ("entities.card", "expected the keys key and aggregates"),
    "Card: {key: city, aggregates: [{how: days_since_first, name: d}]}": ("entities.Card", "is no name"),
    "user: {key: city, aggregates: [{how: days_since_first}]}": ("entities.user.key", "has the key user_id already"),
}

FEATURES = {
    "a: {sql: a + amount}": ("features.a.sql", "is computed from itself: a reads a"),
    "a: {sql: amount, sqll: 3}": ("features.a.sqll", "did you mean sql"),
    "a: {}": ("features.a.sql", "is required"),
    "a: amount": ("features.a", "expected the keys sql"),
    "a: {sql: 3}": ("features.a.sql", "expected text, not 3"),
    "a: {sql: ''}": ("features.a.sql", "is empty"),
    "a: {sql: '1 + 1'}": ("features.a.sql", "reads no column"),
    "a: {sql: amont * 2}": ("features.a.sql", "'amont' is no column or feature; did you mean amount"),
    "a: {sql: amount * }": ("features.a.sql", "is no SQL"),
    "a: {sql: amount; }": ("features.a.sql", "syntax error"),
    "a: {sql: amount; drop table x}": ("features.a.sql", "not a query|not implemented|is no SQL|one expression"),
    "a: {sql: 'amount, country'}": ("features.a.sql", "one expression, not a query"),
    "a: {sql: amount FROM raw.transactions}": ("features.a.sql", "one expression, not a query"),
    "a: {sql: amount LIMIT 1}": ("features.a.sql", "one expression, not a query"),
    "a: {sql: amount UNION SELECT 1}": ("features.a.sql", "one expression, not a query"),
    "a: {sql: amount AS b}": ("features.a.sql", "names its value by AS"),
    "a: {sql: t.amount}": ("features.a.sql", "the name of the column alone"),
    "a: {sql: '*'}": ("features.a.sql", "several columns"),
    "a: {sql: sum(amount)}": ("features.a.sql", r"sum\(\) looks at other rows"),
    "a: {sql: count(*) + amount}": ("features.a.sql", r"count\(\) looks at other rows"),
    "a: {sql: lag(amount) OVER ()}": ("features.a.sql", "window function looks at other rows"),
    "a: {sql: amount - (SELECT 1)}": ("features.a.sql", "subquery looks at other rows"),
    "a: {sql: amount IN (SELECT 1)}": ("features.a.sql", "subquery looks at other rows"),
    "a: {sql: amount * random()}": ("features.a.sql", r"random\(\) differs from run to run"),
    "a: {sql: now() > timestamp}": ("features.a.sql", r"now\(\) differs from run to run"),
    "a: {sql: timestamp < current_date}": ("features.a.sql", "current_date differs from run to run"),
    "a: {sql: current_localtimestamp() > timestamp}": ("features.a.sql", "differs from run to run"),
    "a: {sql: read_csv(country)}": ("features.a.sql", "gives a table"),
    "a: {sql: getenv(country)}": ("features.a.sql", "is no function"),
    "a: {sql: current_setting(country)}": ("features.a.sql", "differs from run to run"),
    "a: {sql: 'list_sum([amount])'}": ("features.a.sql", "the function list_sum can't be used"),
    "a: {sql: logg(amount)}": ("features.a.sql", "'logg' is no function; did you mean log"),
    "a: {sql: amount + country}": ("features.a.sql", r"No function matches.*\+\(DOUBLE, VARCHAR\)"),
    "a: {sql: 'date_trunc(''fortnight'', timestamp) > timestamp'}": ("features.a.sql", "fortnight"),
    "a: {sql: amount > 'high'}": ("features.a.sql", "Could not convert string 'high' to DOUBLE"),
    "a: {sql: amount + 'x'}": ("features.a.sql", "Could not convert string 'x' to DOUBLE"),
    "a: {sql: timestamp > 'noon'}": ("features.a.sql", "noon"),
    "a: {sql: amount::TIMESTAMPTZ}": ("features.a.sql", "can't cast to TIMESTAMPTZ"),
    "a: {sql: timestamp - timestamp}": ("features.a.sql", "gives a value of type INTERVAL"),
    "a: {sql: lower(country), daily: true}": ("features.a.daily", "text needs a role"),
    "a: {sql: amount > 1, role: label}": ("features.a.role", "role label does not fit the type boolean"),
    "user_z: {sql: amount}": ("features.user_z", "stands twice; the other is at shipped.yaml:"),
    "is_night: {sql: amount > 1}": ("features.is_night", "stands twice; the other is at shipped.yaml:"),
    "country: {sql: lower(country)}": ("features.country", "stands twice; the other is at shipped.yaml:"),
    "amount: {sql: amount}": ("features.amount", "stands twice"),
    "a: {sql: '" + "(" * 1900 + "amount" + ")" * 1900 + "'}": ("features.a.sql", "nested too deeply"),
    "a: {sql: '" + "NOT " * 900 + "(amount > 1)'}": ("features.a.sql", "nested too deeply"),
}


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        *((f"attributes:\n\n  {text}\n", 3, *told) for text, told in ATTRIBUTES.items()),
        *((f"entities:\n  {text}\n", 2, *told) for text, told in ENTITIES.items()),
        *((f"# features\nfeatures:\n  {text}\n", 3, *told) for text, told in FEATURES.items()),
        *(
            (
                f"entities:\n  card:\n    key: city\n    aggregates:\n      - {text}\n",
                5,
                f"entities.card.aggregates[0].{key}".rstrip("."),
                message,
            )
            for text, (key, message) in AGGREGATES.items()
        ),
    ],
)
def test_a_mistake_is_one_message_with_its_line_and_key(
    tmp_path: Path, text: str, line: int, key: str, message: str
) -> None:
    [(told_line, told_key, told)] = problems_of(tmp_path, text)
    assert (told_line, told_key) == (line, key)
    assert re.search(message, told), told


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("", 1, "", "is empty"),
        ("# nothing\n", 1, "", "is empty"),
        ("{}", 1, "", "is empty"),
        ("- a\n", 1, "", "is no mapping"),
        ("text", 1, "", "is no mapping"),
        ("attributes:\n  a: {type: text\n", 3, "", "is no valid YAML"),
        ("attributes: {}\n---\nfeatures: {}\n", 2, "", "is no valid YAML"),
        ("attributes:\n\ta: 3\n", 2, "", "is no valid YAML"),
        ("[" * 5000, 1, "", "nested too deeply"),
        ("a: \x00", 1, "", "is no valid YAML"),
        ("attribute:\n  a: {type: text}\n", 1, "attribute", "is no key here; did you mean attributes"),
        ("attributes: [a]\n", 1, "attributes", "expected names"),
        ("attributes:\n  a: {type: text}\nattributes:\n  b: {type: text}\n", 3, "attributes", "twice, first on line 1"),
        ("attributes:\n  a: {type: text}\n  a: {type: number}\n", 3, "attributes.a", "twice, first on line 2"),
        ("attributes:\n  a:\n    type: text\n    type: text\n", 4, "attributes.a.type", "twice, first on line 3"),
        ("attributes:\n  a: {type: text}\n  ? [b]\n  : {type: text}\n", 3, "attributes", "a key must be a name"),
        ("attributes: &a\n  a: *a\n", 1, "attributes.a", "stands within itself"),
        ("attributes:\n  a: !!python/name:os.system {type: text}\n", 2, "attributes.a", "the tag .* has no meaning"),
        ("attributes:\n  a: {<<: {type: text}, pii: true}\n", 2, "attributes.a.<<", "write the keys out"),
        ("attributes:\n  a: {type: !secret x}\n", 2, "attributes.a.type", "tag !secret has no meaning"),
        (
            "attributes:\n  a: {type: text, description: 2026-13-45}\n",
            2,
            "attributes.a.description",
            "is no valid value",
        ),
    ],
)
def test_what_is_no_declarations_file_is_one_message(
    tmp_path: Path, text: str, line: int, key: str, message: str
) -> None:
    [(told_line, told_key, told)] = problems_of(tmp_path, text)
    assert (told_line, told_key) == (line, key)
    assert re.search(message, told), told


def test_all_problems_are_told_together_in_order(tmp_path: Path) -> None:
    told = problems_of(
        tmp_path,
        """
        attributes:
          currency: {type: txt}
          lat: {type: number, min: 1, max: 0}
        entities:
          card:
            key: [currency, city]
            aggregates:
              - {how: sum, of: amount, over: 1y}
              - {how: max, of: card_amount_sum_1y, over: 3}
              - {how: max, of: lat, over: 3}
        features:
          a: {sql: b + 1}
          b: {sql: c * a}
          c: {sql: a - amount}
          d: {sql: a + lat + card_amount_sum_1y}
          e: {sql: currency || 'x', role: hash}
          f: {sql: amount + nothing + nothing}
        """,
    )
    assert [(line, key) for line, key, _ in told] == [
        (3, "attributes.currency.type"),
        (4, "attributes.lat.min"),
        (9, "entities.card.aggregates[0].over"),
        (13, "features.a.sql"),
        (18, "features.f.sql"),
    ]
    assert told[3][2] == "is computed from itself: a reads b reads a"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclarations, match=r"fraud\.yaml:1: can't be read"):
        compile_plan(tmp_path / "fraud.yaml")


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert any("50,000 values" in message for _, _, message in problems_of(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("section", "one", "most"),
    [
        ("attributes", "  c{}: {{type: number}}", MAX_ATTRIBUTES),
        ("features", "  f{}: {{sql: amount * {}}}", MAX_FEATURES),
        ("entities", "  e{}: {{key: city, aggregates: [{{how: days_since_first}}]}}", MAX_ENTITIES),
    ],
)
def test_too_many_are_one_message(tmp_path: Path, section: str, one: str, most: int) -> None:
    def text(number: int) -> str:
        return "\n".join([f"{section}:", *(one.format(n, n) for n in range(number))])

    assert problems_of(tmp_path, text(most)) == []
    [(line, _, message)] = problems_of(tmp_path, text(2 * most))
    assert line == most + 2
    assert f"{most} {section}" in message


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclarations, match="larger than"):
        compile_plan(written(tmp_path, "# long\n" * 200_000))
