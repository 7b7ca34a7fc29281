"""The draft of a mapping for a file that is recognised: the one that ships, as far as its columns are declared."""

from collections.abc import Collection

import yaml

from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.transactions.recognition import Recognised


def draft_of_recognised(found: Recognised, declared: Collection[str]) -> str:
    """The mapping by which a recognised file is read, as the text of a mapping file.

    Args:
        declared: the columns of a transaction.

    Raises:
        InvalidInput: the file holds disputes.
    """
    if found.source.holds == "disputes":
        raise InvalidInput(
            f"The file holds disputes ({found.source.title}), which need no mapping. Take them in by: "
            "fraud-pipelines import FILE"
        )
    content = found.mapping_content()
    undeclared = [ours for ours in content["columns"] if ours not in declared]
    content["columns"] = {ours: theirs for ours, theirs in content["columns"].items() if ours in declared}
    lines = [f"# {' '.join(told.split())}" for told in found.told]
    lines.append("# The import reads the file so without a mapping. Change what is otherwise with you.")
    if undeclared:
        lines.append(f"# Left out, since fraud.yaml doesn't declare it: {', '.join(undeclared)}")
        lines.append(f"# Declarations for it: fraud-pipelines mapping show {found.name} --declarations")
    text: str = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    return "\n".join(lines) + "\n" + text
