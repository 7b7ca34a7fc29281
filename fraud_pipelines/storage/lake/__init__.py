"""The lake: the tables as Parquet files, each committed through Delta's log, all of them together by a manifest."""
