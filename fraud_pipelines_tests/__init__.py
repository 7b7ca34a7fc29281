"""The tests. Each process that imports them opens lakes in place of DuckDB files where `lakes` is told so."""

from fraud_pipelines_tests.lakes import ON_LAKE, let_everything_be_a_lake

if ON_LAKE:
    let_everything_be_a_lake()
