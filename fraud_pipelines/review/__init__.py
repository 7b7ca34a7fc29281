"""The review page: a small web server on which people judge what the pipeline has flagged."""
