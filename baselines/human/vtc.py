"""Fair shares of tokens: the tenant that has been served least enters first, whoever sends more waits longer.

A tenant's counter grows by INPUT_WEIGHT for every prompt token that enters and OUTPUT_WEIGHT for every token generated.
A tenant that begins to wait is lifted to the smallest counter of the others that wait, so that nobody saves up service.
Within a tenant it is first come, first served, ties between tenants go by arrival. Tokens are counted at scheduling
points: those of a request's last iterations are missed. The counters are one set for all replicas.

Source: virtual token counter (OSDI 2024) of the S-LoRA artifact.
Loses: wherever a mean over requests is the objective: fairness slows those who send much, and with one tenant it is
first come, first served.
"""

from glia_bench.features import Memory, Replica, Request

SOURCE = "Ying1123/VTC-artifact@192c2e20, slora/server/router/vtc_req_queue.py"
DYNAMIC_RANK = True
TUNABLE = {"INPUT_WEIGHT": (0.1, 10.0, "log"), "OUTPUT_WEIGHT": (0.0, 20.0)}
INPUT_WEIGHT = 1.0
OUTPUT_WEIGHT = 2.0
COUNTER, WAITING, AHEAD = 0, 1, 2
SEEN, COUNTED = 0, 1
MEMORY = {"tenant": 3, "request": 2}


def on_step(replica: Replica, memory: Memory) -> None:
    """Count anew who waits, and what waits ahead within each tenant."""
    for tenant in range(memory.tenant.shape[0]):
        memory.tenant[tenant, WAITING] = memory.tenant[tenant, AHEAD] = 0.0


def lift(tenant: int, memory: Memory) -> None:
    """Raise the counter of a tenant that begins to wait to the smallest of the others that wait."""
    lowest = -1.0
    for other in range(memory.tenant.shape[0]):
        counter = memory.tenant[other, COUNTER]
        if other != tenant and memory.tenant[other, WAITING] > 0 and (lowest < 0 or counter < lowest):
            lowest = counter
    memory.tenant[tenant, COUNTER] = max(memory.tenant[tenant, COUNTER], lowest)


def rank(request: Request, replica: Replica, memory: Memory) -> float:
    """Order by what the tenant's counter will be when all that it has waiting ahead of this request has entered."""
    row, mine = memory.request[request.slot], memory.tenant[request.tenant]
    mine[COUNTER] += OUTPUT_WEIGHT * (request.generated_tokens - row[COUNTED])
    row[COUNTED] = request.generated_tokens
    if row[SEEN] == 0 and mine[WAITING] == 0:
        lift(request.tenant, memory)
    row[SEEN] = 1.0
    if request.computed_tokens > 0:  # it runs; if it is preempted, it waits at the head
        return 0.0
    mine[WAITING] += 1.0
    place = float(mine[COUNTER] + mine[AHEAD])
    if request.restarts == 0:
        mine[AHEAD] += INPUT_WEIGHT * request.prompt_tokens
    return place


def tokens(request: Request, replica: Replica, left: int, memory: Memory) -> int:
    """Charge the prompt of a request that enters for the first time; give everybody all tokens that are left."""
    if request.computed_tokens == 0:
        mine = memory.tenant[request.tenant]
        mine[WAITING] -= 1.0
        if request.restarts == 0:
            mine[COUNTER] += INPUT_WEIGHT * request.prompt_tokens
            mine[AHEAD] -= INPUT_WEIGHT * request.prompt_tokens
    return left
