"""`difgen gate`: may these weights be released? A policy held against the rows, and evidence without images.

The gate is closed unless everything that the policy asks for was measured, on these very weights, and holds at the bad
end of its interval. What is missing, too little or of other weights is `insufficient`, never passed over.
"""

from __future__ import annotations

from difgen_cli.gate.checks import Check, Outcome, judged, verdict
from difgen_cli.gate.policy import Policy
from difgen_cli.gate.subject import Subject

__all__ = ["Check", "Outcome", "Policy", "Subject", "judged", "verdict"]
