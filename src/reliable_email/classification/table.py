"""The table of causes as Markdown, for the documentation: `python -m reliable_email.classification.table`."""

import sys

from reliable_email.classification.meanings import MEANINGS, action_for, is_permanent


def causes_table() -> str:
    """One row a cause: what it means, what it is about, what is done, what a person should do."""
    rows = [
        "| Cause | What it means | About | Action (4yz / 5yz) | What the package does | What you should do |",
        "|---|---|---|---|---|---|",
    ]
    for cause, meaning in MEANINGS.items():
        actions = [
            action_for(cause, permanent=is_permanent(cause, code), scope=meaning.scope).value for code in (450, 550)
        ]
        action = actions[0] if actions[0] == actions[1] else " / ".join(actions)
        about = meaning.scope.value.replace("_", " ")
        rows.append(
            f"| `{cause.value}` | {meaning.says} | {about} | {action} | {meaning.package} | {meaning.person or '–'} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(causes_table())
