"""How results become files."""

from __future__ import annotations


def markdown(found):
    """A page in Markdown."""
    verdict = "Yes" if found["low"] > 0 else "That is not shown"
    rows = "\n".join(
        f"| {patient} | {hours:+.1f} |" for patient, hours in enumerate(found["sample"], start=1)
    )
    return f"""# Does the second drug give more sleep?

{verdict}: the {found["statistic"]} of the differences is {found["estimate"]:.2f} hours,
with a 95% interval of {found["low"]:.2f} to {found["high"]:.2f}.

| patient | additional hours |
|--------:|-----------------:|
{rows}
"""
