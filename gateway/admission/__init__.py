"""USE CASE: one request of one key -> a receipt, or the reason why not.

A rate counts attempts and is never given back; quotas count what is billed, and are.

- `admission` decides on what the others hold and do, and goes on by policy where the cache cannot answer;
- `attempt` is one request on its way through, and what was found out so far;
- `snapshots` are the accounts that this worker holds;
- `ready` is a plan with its charge, made once of a key on a route, and `ready_plans` are those that are kept;
- `charging` charges one attempt, and `ending` gives its charge back or corrects it.
"""

from gateway.admission.admission import Admission
from gateway.admission.attempt import Attempt, PolicySource, Returned, Settled
from gateway.admission.ready import Ready

__all__ = ["Admission", "Attempt", "PolicySource", "Ready", "Returned", "Settled"]
