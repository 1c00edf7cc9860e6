"""Capacity concave in the fleet: small fleets run full, the last replicas come early and stay through lulls."""
import math

# EVOLVE-BLOCK-START
INTERVAL_S = 1.0
RATE_S = 15
SAFE_RATE = 2.4
FLIGHT_S = 3
SAFE_BATCH = 20.0
POWER = 0.85
SMOOTH_S = 20
CALM_S = 10
MARGIN = 0.17


def scale(window, cluster, memory):
    n = window.arrivals.shape[0]
    late = 0.0
    smooth = 0.0
    for i in range(SMOOTH_S):
        a = window.arrivals[n - 1 - i, 0]
        if a > 0.0:
            smooth += a / SMOOTH_S
            if i < RATE_S:
                late += a / RATE_S
    flight = 0.0
    calm = 0.0
    for i in range(CALM_S):
        c = window.running[n - 1 - i, 0] + window.waiting[n - 1 - i, 0]
        if c > 0.0:
            calm += c / CALM_S
            if i < FLIGHT_S:
                flight += c / FLIGHT_S

    now = int(window.desired[0])
    # Inverse of capacity(m) = SAFE * m ** POWER. Too small a fleet is mended by growing while it can still grow;
    # a backlog at the largest fleet is mended by nothing, so large fleets are given more room.
    load = max(late / SAFE_RATE, flight / SAFE_BATCH)
    want = int(math.ceil(load ** (1.0 / POWER)))
    if want < now:
        want = now
        # A lull of seconds is no reason to give a replica up: ask whether one less would carry what comes and
        # what is there, with room against flapping. A drain and an unfilled window hide load: wait for them.
        if window.ready[n - SMOOTH_S, 0] >= 0.5 and window.draining[n - 1, 0] < 0.5:
            after = max(max(smooth, late) / SAFE_RATE, max(calm, flight) / SAFE_BATCH)
            if after < (1.0 - MARGIN) * float(now - 1) ** POWER:
                want = now - 1
    want = max(want, int(window.min_replicas[0]))
    want = min(want, int(window.max_replicas[0]))
    return int(want)


def drain_rank(replica, memory):
    # The emptiest replica is gone soonest and so is billed least while it drains.
    return float(replica.running + replica.waiting)
# EVOLVE-BLOCK-END
