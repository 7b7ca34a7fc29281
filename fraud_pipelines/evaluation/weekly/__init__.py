"""The weekly report: how a week went, for whoever answers for it, by what was known when the week ended."""
